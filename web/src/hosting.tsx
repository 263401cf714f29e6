import { useRef, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "./api";
import type { HostingStatus, Status } from "./contract";
import { dollars, duration, instant } from "./format";
import { ProblemNotice } from "./notices";
import type { Polled } from "./poll";
import { costInWords, usageInWords } from "./usage";

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
  /** What the person may do. */
  scopes: string[];
  onSignOut: () => void;
}

/** The state of the hosted model as a button in the header; behind it the details, the wake switch, sign out. */
export function HostingPanel({ api, status, email, scopes, onSignOut }: Props) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [sending, setSending] = useState(false);
  const panel = useRef<HTMLDivElement>(null);
  const hosting = status.value?.hosting;
  const words = hosting === undefined ? null : WORDS[hosting.status];
  const label = words?.label ?? (status.problem === null ? "…" : "No answer");

  const ask = async (wish: () => Promise<unknown>) => {
    setProblem(null);
    setSending(true);
    try {
      await wish();
      status.reload();
      panel.current?.focus(); // the button that was pressed gives way to its opposite
    } catch (error) {
      setProblem(problemOf(error));
    }
    setSending(false);
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
      <div
        ref={panel}
        id="hosting-panel"
        class="panel"
        popover="auto"
        role="dialog"
        aria-label="Storyteller and account"
        tabIndex={-1}
      >
        <h2>Your storyteller</h2>
        {words !== null && (
          <p>
            <strong>{words.label}.</strong> {words.meaning}
          </p>
        )}
        {hosting?.message && <p class="quiet">{hosting.message}</p>}
        {status.value !== undefined && <Facts status={status.value} />}
        {hosting !== undefined && <p>{costInWords(hosting)}</p>}
        {(problem ?? status.problem) !== null && <ProblemNotice problem={problem ?? status.problem} />}
        {status.value?.live && (hosting?.status === "asleep" || hosting?.status === "failing") && (
          <button class="primary" disabled={sending} onClick={() => void ask(() => api.wake())}>
            Wake it now
          </button>
        )}
        {scopes.includes("write") && (hosting?.status === "awake" || hosting?.status === "waking") && (
          <>
            <button
              disabled={sending}
              aria-describedby="sleep-meaning"
              onClick={() => void ask(() => api.sleep())}
            >
              Put it to sleep now
            </button>
            <p id="sleep-meaning" class="quiet small">
              For everybody: its machine goes and bills no more, and an answer being written breaks off. The next
              message wakes it, which takes a few minutes.
            </p>
          </>
        )}
        {scopes.includes("read") && (
          <p>
            <a href="#/costs" onClick={() => panel.current?.hidePopover()}>
              Costs
            </a>{" "}
            <span class="quiet">of this month and of others</span>
          </p>
        )}
        <hr />
        <p class="quiet">Signed in as {email}</p>
        {scopes.includes("keys") && (
          <p>
            <a href="#/keys" onClick={() => panel.current?.hidePopover()}>
              API keys
            </a>{" "}
            <span class="quiet">for programs of yours</span>
          </p>
        )}
        {scopes.includes("people") && (
          <p>
            <a href="#/people" onClick={() => panel.current?.hidePopover()}>
              People
            </a>{" "}
            <span class="quiet">who may sign in, and what was changed</span>
          </p>
        )}
        <button onClick={onSignOut}>Sign out</button>
      </div>
    </>
  );
}

export function Facts({ status: { live, hosting, base_model, usage } }: { status: Status }) {
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
      <dt>You today</dt>
      <dd>{usageInWords(usage)}</dd>
    </dl>
  );
}
