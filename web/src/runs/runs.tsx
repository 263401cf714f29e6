import { useCallback } from "preact/hooks";
import type { Api } from "../api";
import { isGoing, type Run } from "../contract";
import { counted, duration, instant } from "../format";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";
import { runAddress } from "../route";
import { StartRun } from "./start";
import { stepTitle } from "./steps";
import { improvement, STATUS_WORDS } from "./words";

/** All runs, newest first. */
export function Runs({ api }: { api: Api }) {
  const {
    value: runs,
    problem,
    reload,
  } = usePoll(
    useCallback((signal: AbortSignal) => api.runs(signal), [api]),
    (runs) => (runs?.some((run) => isGoing(run.status)) ? 5 : 30),
  );
  return (
    <>
      <h1>Runs</h1>
      <p class="quiet lede">Each run reads your stories afresh and makes a storyteller from them.</p>
      <StartRun api={api} going={runs?.some((run) => isGoing(run.status)) ?? false} onStarted={reload} />
      <ProblemNotice problem={problem} />
      {runs === undefined && problem === null && <p class="quiet">Loading…</p>}
      {runs?.length === 0 && (
        <p class="notice">
          No run yet. <a href="#/stories">Add your stories</a>; a run starts by itself soon after the last
          one.
        </p>
      )}
      <ul class="run-list">
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
    <a class="run-row" href={runAddress(run.run_id)}>
      <StatusBadge run={run} />
      <span class="run-when">{run.started_at ? instant(run.started_at) : run.run_id}</span>
      <span class="run-what">{summary(run)}</span>
    </a>
  );
}

export function StatusBadge({ run }: { run: Run }) {
  return (
    <span class="badge" data-status={run.status}>
      {STATUS_WORDS[run.status]}
    </span>
  );
}

function summary(run: Run): string {
  if (isGoing(run.status)) return stepTitle(run.step);
  if (run.status === "failed") return run.failure?.error ?? run.message ?? "See why";
  const parts: string[] = [];
  if (run.version) parts.push(run.version);
  if (run.stories != null) parts.push(counted(run.stories, "story", "stories"));
  const better = improvement(run);
  if (better !== null && better > 0) parts.push(`${Math.round(better)}% less surprised`);
  if (run.started_at && run.ended_at) {
    parts.push(duration((Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000));
  }
  return parts.join(" · ");
}
