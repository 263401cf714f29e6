import { useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "./api";
import type { HostingStatus, Status } from "./contract";
import { dollars, duration, instant } from "./format";
import { ProblemNotice } from "./notices";
import type { Polled } from "./poll";

const WORDS: Record<HostingStatus, { label: string; meaning: string }> = {
  asleep: {
    label: "Asleep",
    meaning: "Nothing is running, so nothing is billed. Your first message wakes it.",
  },
  waking: { label: "Waking", meaning: "A machine is starting. It answers in a few minutes." },
  awake: { label: "Awake", meaning: "It answers at once, and falls asleep by itself when nobody writes." },
  failing: { label: "Not well", meaning: "The machine that hosts it did not start." },
};

interface Props {
  api: Api;
  status: Polled<Status>;
  email: string;
  onSignOut: () => void;
}

/** The state of the hosted model as a button in the header; behind it the details, the wake switch, sign out. */
export function HostingPanel({ api, status, email, onSignOut }: Props) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const hosting = status.value?.hosting;
  const words = hosting === undefined ? null : WORDS[hosting.status];
  const label = words?.label ?? (status.problem === null ? "…" : "No answer");

  const wake = async () => {
    setProblem(null);
    try {
      await api.wake();
      status.reload();
    } catch (error) {
      setProblem(problemOf(error));
    }
  };

  return (
    <>
      <button
        class="hosting"
        data-status={hosting?.status ?? "unknown"}
        popovertarget="hosting-panel"
        aria-label={`Storyteller: ${label}. Details and account`}
      >
        <span class="dot" aria-hidden="true" />
        {label}
      </button>
      <p class="unseen" role="status">
        {words === null ? "" : `Your storyteller: ${words.label}.`}
      </p>
      <div id="hosting-panel" class="panel" popover="auto" role="dialog" aria-label="Storyteller and account">
        <h2>Your storyteller</h2>
        {words !== null && (
          <p>
            <strong>{words.label}.</strong> {words.meaning}
          </p>
        )}
        {hosting?.message && <p class="quiet">{hosting.message}</p>}
        {status.value !== undefined && <Facts status={status.value} />}
        {(problem ?? status.problem) !== null && <ProblemNotice problem={problem ?? status.problem} />}
        {status.value?.live && (hosting?.status === "asleep" || hosting?.status === "failing") && (
          <button class="primary" onClick={wake}>
            Wake it now
          </button>
        )}
        <hr />
        <p class="quiet">Signed in as {email}</p>
        <button onClick={onSignOut}>Sign out</button>
      </div>
    </>
  );
}

export function Facts({ status: { live, hosting, base_model } }: { status: Status }) {
  return (
    <dl class="facts">
      <dt>Version</dt>
      <dd>{live === null ? "none yet" : live.version}</dd>
      <dt>Made from</dt>
      <dd>{base_model.name}</dd>
      {hosting.since && (
        <>
          <dt>Since</dt>
          <dd>{instant(hosting.since)}</dd>
        </>
      )}
      {hosting.status === "waking" && hosting.expected_seconds != null && (
        <>
          <dt>Ready in</dt>
          <dd>about {duration(hosting.expected_seconds)}</dd>
        </>
      )}
      {hosting.instance && (
        <>
          <dt>Machine</dt>
          <dd>{hosting.instance}</dd>
        </>
      )}
      {hosting.cost_this_month_usd != null && (
        <>
          <dt>This month</dt>
          <dd>{dollars(hosting.cost_this_month_usd)}</dd>
        </>
      )}
    </dl>
  );
}
