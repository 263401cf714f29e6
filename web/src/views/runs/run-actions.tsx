/** What a person may do with runs: approve or decline, start, stop, resume, train again. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../../api/client";
import type { RunDetail, Started } from "../../api/contract";
import { Confirm, ProblemNotice } from "../../ui/elements";
import { instant } from "../../ui/format";
import { runHref } from "../../ui/route";
import styles from "./runs.module.css";
import { priceInWords, spentInWords } from "./words";

interface ApprovalProps {
  api: Api;
  run: RunDetail;
  /** Called once the answer is sent. */
  onAnswered: () => void;
}

/** Show what was found in the stories and what training would cost, to approve or decline. */
export function ApprovalCard({ api, run, onAnswered }: ApprovalProps) {
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const { report } = run;

  const answer = async (send: (runId: string) => Promise<unknown>) => {
    setSending(true);
    setProblem(null);
    try {
      await send(run.run_id);
    } catch (error) {
      setProblem(problemOf(error));
    }
    setSending(false);
    onAnswered(); // also after an error: somebody else may have answered first, which the run then shows
  };

  return (
    <section class={`card ${styles.approval}`} aria-labelledby="approval-title">
      <h2 id="approval-title">Approve the training?</h2>
      {report ? (
        <>
          <p>{report.verdict}</p>
          <p>
            <strong>{priceInWords(report)}</strong>
          </p>
        </>
      ) : (
        <p>{run.message}</p>
      )}
      <p class="quiet">
        Nothing is spent on a GPU before you approve.
        {run.waits_until && ` Without an answer the run ends by itself: ${instant(run.waits_until)}.`} If you add
        stories first, a new run with all of them replaces this one and asks again.
      </p>
      <ProblemNotice problem={problem} />
      <div class="buttons">
        <button class="primary" disabled={sending} onClick={() => void answer((id) => api.approve(id))}>
          Approve
        </button>
        <button disabled={sending} onClick={() => void answer((id) => api.decline(id))}>
          Decline
        </button>
      </div>
    </section>
  );
}

interface ActionProps {
  label: string;
  question: string;
  yes: string;
  no: string;
  /** Does it and returns what the API reported. */
  act: () => Promise<ComponentChildren>;
  /** What will happen. */
  children: ComponentChildren;
}

/** Show a button that asks before it acts, and then what came of it. */
function ConfirmedAction({ label, question, yes, no, act, children }: ActionProps) {
  const [asking, setAsking] = useState(false);
  const [result, setResult] = useState<ComponentChildren>(null);
  return (
    <>
      <div>
        <button onClick={() => setAsking(true)}>{label}</button>
      </div>
      <p role="status">{result}</p>
      {asking && (
        <Confirm
          question={question}
          yes={yes}
          no={no}
          onClose={() => setAsking(false)}
          onConfirm={async () => setResult(await act())}
        >
          {children}
        </Confirm>
      )}
    </>
  );
}

function StartedRun({ message, run_id }: Started) {
  return (
    <>
      {message} <a href={runHref(run_id)}>Open the run in progress</a>
    </>
  );
}

/** Start a run by hand. */
export function StartRun({ api, isAnyActive, onStarted }: { api: Api; isAnyActive: boolean; onStarted: () => void }) {
  return (
    <ConfirmedAction
      label="Start a run now"
      question="Start a run with all your stories?"
      yes={isAnyActive ? "Start it afterwards" : "Start it"}
      no="Not now"
      act={async () => {
        const started = await api.startRun();
        onStarted();
        return <StartedRun {...started} />;
      }}
    >
      <p>
        It reads every story and trains, and the machine that trains is billed. The report of an earlier run shows about
        how much that is.
      </p>
      {isAnyActive && <p>A run is in progress. Another starts when it finishes.</p>}
      <p>After you add stories you need not start one: that happens by itself after a while.</p>
    </ConfirmedAction>
  );
}

/** Stop an active run. */
export function StopRun({ api, run, onStopping }: { api: Api; run: RunDetail; onStopping: () => void }) {
  return (
    <ConfirmedAction
      label="Stop this run"
      question="Stop this run?"
      yes="Stop it"
      no="Keep it running"
      act={async () => {
        const { message } = await api.stopRun(run.run_id);
        onStopping();
        return message;
      }}
    >
      <p>{spentInWords(run)}</p>
      <p>
        It makes no new version then. It can be resumed where it was, or from its last checkpoint if it was training.
        Your stories stay as they are, and the live version still answers.
      </p>
    </ConfirmedAction>
  );
}

/** Resume a failed run where it failed. */
export function ResumeRun({ api, run, onResumed }: { api: Api; run: RunDetail; onResumed: () => void }) {
  return (
    <ConfirmedAction
      label="Resume from where it failed"
      question="Resume this run?"
      yes="Resume"
      no="Not now"
      act={async () => {
        const { message } = await api.resumeRun(run.run_id);
        onResumed();
        return message;
      }}
    >
      <p>
        Its results so far are kept: a finished training is not repeated, and one that was cut off resumes from its last
        checkpoint. The machines of the remaining steps are billed. First do what the reason asks for, such as raising a
        quota.
      </p>
    </ConfirmedAction>
  );
}

/** Train on unchanged stories once more. */
export function TrainAgain({ api, run }: { api: Api; run: RunDetail }) {
  return (
    <ConfirmedAction
      label="Train again anyway"
      question="Train on the same stories again?"
      yes="Train again"
      no="Not now"
      act={async () => <StartedRun {...await api.startRun(true)} />}
    >
      {run.report && <p>{priceInWords(run.report)}</p>}
      <p>
        The evaluation after it is billed, too. With the same stories and settings the new version will be much like the
        last one; it is deployed only if it is better.
      </p>
    </ConfirmedAction>
  );
}
