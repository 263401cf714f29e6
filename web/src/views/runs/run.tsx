import { useCallback, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import { isActive, type RunDetail, type TrainingProgress } from "../../api/contract";
import { Badge, ProblemNotice } from "../../ui/elements";
import { duration, instant } from "../../ui/format";
import { useNow, usePoll } from "../../ui/hooks";
import { APPROVAL } from "../../ui/run-wording";
import { DataReportCard } from "./data-report";
import { LossChart } from "./loss-chart";
import { ApprovalCard, ResumeRun, StopRun, TrainAgain } from "./run-actions";
import { Comparison, SearchTable } from "./run-results";
import styles from "./runs.module.css";
import { type Step, stepsOf } from "./steps";
import { STATUS_WORDS, trainingInWords } from "./words";

/** Show one run: its steps, its training, its data and its result, updated while it is active. */
export function RunView({ api, runId }: { api: Api; runId: string }) {
  // A resumed run is shown as failed until its new execution has begun.
  const [isResumed, setIsResumed] = useState(false);
  const { value: run, problem, reload } = usePoll(
    useCallback((signal: AbortSignal) => api.run(runId, signal), [api, runId]),
    (run) => (run === undefined || isActive(run.status) || isResumed ? 4 : 60),
  );
  const onResumed = () => {
    setIsResumed(true);
    reload();
  };
  return (
    <>
      <p class={styles.crumb}>
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
      <div class="head">
        <h1>Run of {run.started_at ? instant(run.started_at) : run.run_id}</h1>
        <Badge status={run.status} label={STATUS_WORDS[run.status]} />
      </div>
      {run.status === "waiting" ? (
        <ApprovalCard api={api} run={run} onAnswered={reload} />
      ) : (
        run.message && <p>{run.message}</p>
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
          <h2>Learning curve</h2>
          <LossChart points={run.metrics} />
        </section>
      )}
      {run.report && <DataReportCard report={run.report} url={run.report_url ?? null} />}
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
    <section class={`card ${styles.failure}`}>
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
      <p class="quiet">Your stories are unchanged, and the version that was live before this run still answers.</p>
    </section>
  );
}

const STATE_WORDS: Record<Step["state"], string> = {
  waiting: "not started",
  running: "in progress",
  done: "done",
  failed: "failed",
  skipped: "not needed",
  unreached: "not reached",
};

function stateInWords(step: Step): string {
  return step.name === APPROVAL.name && step.state === "running" ? "waiting for approval" : STATE_WORDS[step.state];
}

function Steps({ run }: { run: RunDetail }) {
  const now = useNow(1);
  return (
    <ol class={styles.steps}>
      {stepsOf(run).map((step) => (
        <li
          key={step.name}
          data-step={step.name}
          data-state={step.state}
          aria-current={step.state === "running" ? "step" : undefined}
        >
          <span class={styles.title}>{step.title}</span>
          <span class={styles.time}>
            <span class={step.seconds === null ? undefined : "unseen"}>{stateInWords(step)} </span>
            {timeOf(step, now)}
          </span>
          {step.name === "Train" && step.state === "running" && run.progress && (
            <TrainingProgressBar progress={run.progress} />
          )}
        </li>
      ))}
    </ol>
  );
}

function TrainingProgressBar({ progress }: { progress: TrainingProgress }) {
  return (
    <span class={styles.progress}>
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
