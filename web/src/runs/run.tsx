import { useCallback, useState } from "preact/hooks";
import type { Api } from "../api";
import { isGoing, type RunDetail, type TrainingProgress } from "../contract";
import { duration, instant } from "../format";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";
import { useNow } from "../use-now";
import { TrainAgain } from "./again";
import { ApprovalCard } from "./approval";
import { Comparison } from "./comparison";
import { LossChart } from "./loss-chart";
import { Report } from "./report";
import { StatusBadge } from "./runs";
import { ResumeRun } from "./resume";
import { SearchTable } from "./search";
import { StopRun } from "./stop";
import { APPROVAL, type Step, stepsOf } from "./steps";
import { trainingInWords } from "./words";

/** One run: its steps, its learning, its data and its outcome, followed while it goes on. */
export function RunView({ api, runId }: { api: Api; runId: string }) {
  // A resumed run is shown as failed until its new execution has begun.
  const [isResumed, setIsResumed] = useState(false);
  const { value: run, problem, reload } = usePoll(
    useCallback((signal: AbortSignal) => api.run(runId, signal), [api, runId]),
    (run) => (run === undefined || isGoing(run.status) || isResumed ? 4 : 60),
  );
  const onResumed = () => {
    setIsResumed(true);
    reload();
  };
  return (
    <>
      <p class="crumb">
        <a href="#/runs">All runs</a>
      </p>
      {run === undefined ? <h1>Run {runId}</h1> : <RunContent api={api} run={run} reload={reload} onResumed={onResumed} />}
      {run === undefined && problem === null && <p class="quiet">Loading…</p>}
      <ProblemNotice problem={problem} />
    </>
  );
}

function RunContent({
  api,
  run,
  reload,
  onResumed,
}: {
  api: Api;
  run: RunDetail;
  reload: () => void;
  onResumed: () => void;
}) {
  return (
    <>
      <div class="run-head">
        <h1>Run of {run.started_at ? instant(run.started_at) : run.run_id}</h1>
        <StatusBadge run={run} />
      </div>
      {run.status === "waiting" ? (
        <ApprovalCard api={api} run={run} onAnswered={reload} />
      ) : (
        run.message && <p class="lede">{run.message}</p>
      )}
      {run.status === "running" && <StopRun api={api} run={run} onStopping={reload} />}
      {run.status === "failed" && run.can_resume && <ResumeRun api={api} run={run} onResumed={onResumed} />}
      {run.status === "stopped_early" && run.unchanged && <TrainAgain api={api} run={run} />}
      {run.failure && <FailureCard run={run} />}
      {run.base_perplexity != null && run.tuned_perplexity != null && (
        <Comparison
          base={run.base_perplexity}
          tuned={run.tuned_perplexity}
          live={run.live_perplexity ?? null}
          version={run.version ?? null}
          url={run.evaluation_url ?? null}
        />
      )}
      <section class="card">
        <h2>Steps</h2>
        <Steps run={run} />
      </section>
      {run.search && run.search.trials.length > 0 && <SearchTable search={run.search} />}
      {run.metrics && run.metrics.length > 0 && (
        <section class="card">
          <h2>Learning</h2>
          <LossChart points={run.metrics} />
        </section>
      )}
      {run.report && <Report report={run.report} url={run.report_url ?? null} />}
      <p class="quiet small">
        Run <code>{run.run_id}</code>
      </p>
    </>
  );
}

function FailureCard({ run }: { run: RunDetail }) {
  const { failure } = run;
  const log = failure?.log_tail?.trimEnd() ?? "";
  return (
    <section class="card failure">
      <h2>Why it failed</h2>
      <p>
        <strong>{failure?.error}</strong>
        {failure?.cause && <> {failure.cause}</>}
      </p>
      {log !== "" && (
        <>
          <h3 id="log-title">The last lines of its log</h3>
          <pre tabIndex={0} role="region" aria-labelledby="log-title">
            {log}
          </pre>
        </>
      )}
      <p class="quiet">Your stories are untouched. Whatever answered before this run still answers.</p>
    </section>
  );
}

const STATE_WORDS: Record<Step["state"], string> = {
  waiting: "to come",
  running: "under way",
  done: "done",
  failed: "failed",
  skipped: "not needed",
  unreached: "not reached",
};

function wordOf(step: Step): string {
  return step.name === APPROVAL.name && step.state === "running" ? "waits for you" : STATE_WORDS[step.state];
}

function Steps({ run }: { run: RunDetail }) {
  const now = useNow(1);
  return (
    <ol class="steps">
      {stepsOf(run).map((step) => (
        <li
          key={step.name}
          data-step={step.name}
          data-state={step.state}
          aria-current={step.state === "running" ? "step" : undefined}
        >
          <span class="step-title">{step.title}</span>
          <span class="step-time">
            <span class={step.seconds === null ? "" : "unseen"}>{wordOf(step)} </span>
            {timeOf(step, now)}
          </span>
          {step.name === "Train" && step.state === "running" && run.progress && (
            <Training progress={run.progress} />
          )}
        </li>
      ))}
    </ol>
  );
}

function Training({ progress }: { progress: TrainingProgress }) {
  return (
    <span class="training">
      <progress aria-label="Training" max={progress.of} value={progress.step} />
      <span class="quiet small">{trainingInWords(progress)}</span>
    </span>
  );
}

function timeOf(step: Step, now: number): string {
  if (step.seconds !== null) return duration(step.seconds);
  if (step.state !== "running" || step.startedAt === null) return "";
  return duration(Math.max(0, (now - Date.parse(step.startedAt)) / 1000));
}
