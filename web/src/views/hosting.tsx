import { useRef, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api/client";
import type { Hosting, HostingStatus, Status, Usage } from "../api/contract";
import { ProblemNotice } from "../ui/elements";
import { dollars, duration, instant, wordEstimate } from "../ui/format";
import type { Polled } from "../ui/hooks";
import styles from "./hosting.module.css";

const WORDS: Record<HostingStatus, { label: string; meaning: string }> = {
  asleep: {
    label: "Asleep",
    meaning: "No machine is running, so nothing is billed. Your first message wakes it.",
  },
  waking: { label: "Waking", meaning: "Its machine is starting. It answers in a few minutes." },
  awake: { label: "Awake", meaning: "It answers at once, and falls asleep by itself when nobody writes." },
  failing: { label: "Failed to start", meaning: "Its machine, the SageMaker endpoint, did not start." },
};

interface Props {
  api: Api;
  status: Polled<Status>;
  email: string;
  /** What the person may do. */
  scopes: string[];
  onSignOut: () => void;
}

/** Show the state of the hosted model in the header, and behind it the details, wake and sleep, and the account. */
export function HostingPanel({ api, status, email, scopes, onSignOut }: Props) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [sending, setSending] = useState(false);
  const panel = useRef<HTMLDivElement>(null);
  const hosting = status.value?.hosting;
  const words = hosting === undefined ? null : WORDS[hosting.status];
  const label = words?.label ?? (status.problem === null ? "…" : "No answer");

  const send = async (request: () => Promise<unknown>) => {
    setProblem(null);
    setSending(true);
    try {
      await request();
      status.reload();
      panel.current?.focus(); // the pressed button is replaced by its opposite
    } catch (error) {
      setProblem(problemOf(error));
    }
    setSending(false);
  };

  return (
    <>
      <button
        class={styles.state}
        data-status={hosting?.status ?? "unknown"}
        popovertarget="hosting-panel"
        aria-label={`Storyteller: ${label}. Details and account`}
      >
        <span class={styles.dot} aria-hidden="true" />
        {label}
      </button>
      <p class="unseen" role="status">
        {words === null ? "" : `Your storyteller: ${words.label}.`}
      </p>
      <div
        ref={panel}
        id="hosting-panel"
        class={styles.panel}
        popover="auto"
        role="dialog"
        aria-label="Storyteller and account"
        tabIndex={-1}
      >
        <h2>Your storyteller</h2>
        <p class="quiet small">The model that is trained on your stories.</p>
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
          <button class="primary" disabled={sending} onClick={() => void send(() => api.wake())}>
            Wake it now
          </button>
        )}
        {scopes.includes("write") && (hosting?.status === "awake" || hosting?.status === "waking") && (
          <>
            <button
              disabled={sending}
              aria-describedby="sleep-meaning"
              onClick={() => void send(() => api.sleep())}
            >
              Put it to sleep now
            </button>
            <p id="sleep-meaning" class="quiet small">
              For everybody: its machine is deleted and no longer billed, and answers being written are interrupted.
              The next message wakes it, which takes a few minutes.
            </p>
          </>
        )}
        {scopes.includes("read") && (
          <p>
            <a href="#/costs" onClick={() => panel.current?.hidePopover()}>
              Costs
            </a>{" "}
            <span class="quiet">of this month and others</span>
          </p>
        )}
        <hr />
        <p class="quiet">Signed in as {email}</p>
        {scopes.includes("keys") && (
          <p>
            <a href="#/keys" onClick={() => panel.current?.hidePopover()}>
              API keys
            </a>{" "}
            <span class="quiet">for your programs</span>
          </p>
        )}
        {scopes.includes("people") && (
          <p>
            <a href="#/people" onClick={() => panel.current?.hidePopover()}>
              People
            </a>{" "}
            <span class="quiet">who may sign in, and who changed what</span>
          </p>
        )}
        <button onClick={onSignOut}>Sign out</button>
      </div>
    </>
  );
}

/** List what is known of the hosted model. */
export function Facts({ status: { live, hosting, base_model, usage } }: { status: Status }) {
  return (
    <dl class={styles.facts}>
      <dt>Version</dt>
      <dd>{live === null ? "none yet" : live.version}</dd>
      <dt>Base model</dt>
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
      <dt>Your usage today</dt>
      <dd>{usageInWords(usage)}</dd>
    </dl>
  );
}

/** Estimate in words how much of the daily limit the person has used. */
export function usageInWords({ tokens_today, daily_tokens }: Usage): string {
  return `about ${wordEstimate(tokens_today)} of ${wordEstimate(daily_tokens)} words`;
}

function costInWords({ cost_this_month_usd: cost, status, price_date }: Hosting): string {
  const billed = status === "awake" || status === "waking" ? " Its machine is billed until it sleeps." : "";
  if (cost === null) return `What this month has cost is not known: an instance has no known price.${billed}`;
  if (cost === 0) return `Nothing was spent this month.${billed}`;
  const prices = price_date === "" ? "" : ` (prices of ${price_date})`;
  return `${dollars(cost)} spent since the month began, on everything together${prices}.${billed}`;
}
