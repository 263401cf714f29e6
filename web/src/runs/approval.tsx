import { useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api";
import type { RunDetail } from "../contract";
import { instant } from "../format";
import { ProblemNotice } from "../notices";
import { priceInWords } from "./words";

interface Props {
  api: Api;
  run: RunDetail;
  /** Called once the answer is given. */
  onAnswered: () => void;
}

/** The question before any money is spent: what was found, what it would cost, yes or no. */
export function ApprovalCard({ api, run, onAnswered }: Props) {
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const { report } = run;

  const answer = async (say: (runId: string) => Promise<unknown>) => {
    setSending(true);
    setProblem(null);
    try {
      await say(run.run_id);
    } catch (error) {
      setProblem(problemOf(error));
    }
    setSending(false);
    onAnswered(); // somebody else may have answered first, which the run then shows
  };

  return (
    <section class="card question">
      <h2>Shall it train?</h2>
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
        Nothing is spent on a GPU before you say yes.
        {run.waits_until && ` Without an answer the run ends by itself: ${instant(run.waits_until)}.`} If you
        add stories first, a run with all of them takes its place and asks again.
      </p>
      <ProblemNotice problem={problem} />
      <div class="answers">
        <button class="primary" disabled={sending} onClick={() => void answer((id) => api.approve(id))}>
          Yes, train
        </button>
        <button disabled={sending} onClick={() => void answer((id) => api.decline(id))}>
          No, end this run
        </button>
      </div>
    </section>
  );
}
