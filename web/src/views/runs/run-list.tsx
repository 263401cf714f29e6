import { useCallback } from "preact/hooks";
import type { Api } from "../../api/client";
import { isActive, type Run } from "../../api/contract";
import { Badge, ProblemNotice } from "../../ui/elements";
import { counted, duration, instant } from "../../ui/format";
import { usePoll } from "../../ui/hooks";
import { runHref } from "../../ui/route";
import { changeInWords, improvement, stepTitle } from "../../ui/run-wording";
import { StartRun } from "./run-actions";
import styles from "./runs.module.css";
import { STATUS_WORDS } from "./words";

/** Show all runs, newest first. */
export function RunList({ api }: { api: Api }) {
  const {
    value: runs,
    problem,
    reload,
  } = usePoll(
    useCallback((signal: AbortSignal) => api.runs(signal), [api]),
    (runs) => (runs?.some((run) => isActive(run.status)) ? 5 : 30),
  );
  return (
    <>
      <h1>Runs</h1>
      <p class="quiet">Each run reads your stories and trains a new version of your storyteller on them.</p>
      <StartRun api={api} isAnyActive={runs?.some((run) => isActive(run.status)) ?? false} onStarted={reload} />
      <ProblemNotice problem={problem} />
      {runs === undefined && problem === null && <p class="quiet">Loading…</p>}
      {runs?.length === 0 && (
        <p class="notice">
          No run yet. <a href="#/stories">Add your stories</a>; a run starts by itself soon after the last one
          has arrived.
        </p>
      )}
      <ul class="list" aria-label="Runs">
        {runs?.map((run) => (
          <li key={run.run_id}>
            <RunRow run={run} />
          </li>
        ))}
      </ul>
    </>
  );
}

function RunRow({ run }: { run: Run }) {
  return (
    <a class={styles.row} href={runHref(run.run_id)}>
      <Badge status={run.status} label={STATUS_WORDS[run.status]} />
      <span>{run.started_at ? instant(run.started_at) : run.run_id}</span>
      <span class={styles.summary}>{summary(run)}</span>
    </a>
  );
}

function summary(run: Run): string {
  if (isActive(run.status)) return stepTitle(run.step);
  if (run.status === "failed") return run.failure?.error ?? run.message ?? "See why";
  const parts: string[] = [];
  if (run.version) parts.push(run.version);
  if (run.stories != null) parts.push(counted(run.stories, "story", "stories"));
  const change = improvement(run);
  if (change !== null) parts.push(changeInWords(change));
  if (run.started_at && run.ended_at) {
    parts.push(duration((Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000));
  }
  return parts.join(" · ");
}
