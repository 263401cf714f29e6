import { useCallback, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api/client";
import type { Model, VersionDecision, VersionStatus } from "../api/contract";
import { Badge, ProblemNotice } from "../ui/elements";
import { count, counted, instant } from "../ui/format";
import { usePoll } from "../ui/hooks";
import { runHref } from "../ui/route";
import { changeInWords, improvement } from "../ui/run-wording";

const STATUS_WORDS: Record<VersionStatus, string> = {
  pending: "Waiting for approval",
  approved: "Approved",
  rejected: "Rejected",
  live: "Live",
  previous: "Previous",
  failed: "Failed to deploy",
};

interface Action {
  decision: VersionDecision;
  label: string;
}

const REJECT: Action = { decision: "reject", label: "Reject" };

/** What a person may do with a version, the likeliest first. */
const ACTIONS: Record<VersionStatus, readonly Action[]> = {
  pending: [{ decision: "approve", label: "Approve" }, REJECT],
  approved: [{ decision: "activate", label: "Activate" }, REJECT],
  rejected: [{ decision: "approve", label: "Approve anyway" }],
  live: [],
  previous: [{ decision: "activate", label: "Activate again" }],
  failed: [{ decision: "activate", label: "Try again" }, REJECT],
};

const POLL_SECONDS = 10;

/** Show all versions of the model, newest first, to approve, activate and reject. */
export function Models({ api }: { api: Api }) {
  const {
    value: models,
    problem,
    reload,
  } = usePoll(useCallback((signal: AbortSignal) => api.models(signal), [api]), () => POLL_SECONDS);
  const [refusal, setRefusal] = useState<Problem | null>(null);
  const [message, setMessage] = useState("");
  const [sending, setSending] = useState(false);

  const decide = async (model: Model, decision: VersionDecision) => {
    setSending(true);
    setRefusal(null);
    try {
      setMessage(await api.decide(model.version, decision));
    } catch (error) {
      setMessage("");
      setRefusal(problemOf(error));
    }
    setSending(false);
    reload();
  };

  return (
    <>
      <h1>Versions</h1>
      <p class="quiet">
        Every run makes a version of your storyteller. One of them is live: it answers in the chat. Approve or
        activate another, and it is deployed in its place.
      </p>
      <ProblemNotice problem={refusal ?? problem} />
      <p role="status">{message}</p>
      {models === undefined && problem === null && <p class="quiet">Loading…</p>}
      {models?.length === 0 && (
        <p class="notice">
          No version yet. <a href="#/stories">Add your stories</a>; a run makes the first one.
        </p>
      )}
      {models?.map((model) => (
        <ModelCard key={model.version} model={model} disabled={sending} onDecide={decide} />
      ))}
    </>
  );
}

interface CardProps {
  model: Model;
  /** While one decision is being sent, no other may be. */
  disabled: boolean;
  onDecide: (model: Model, decision: VersionDecision) => Promise<void>;
}

function ModelCard({ model, disabled, onDecide }: CardProps) {
  const actions = ACTIONS[model.status];
  return (
    <section class="card" aria-labelledby={`version-${model.version}`}>
      <div class="head">
        <h2 id={`version-${model.version}`}>{model.version}</h2>
        <Badge status={model.status} label={STATUS_WORDS[model.status]} />
      </div>
      <p>{facts(model)}</p>
      {model.decision && <p>{model.decision}</p>}
      <p class="quiet small">
        {instant(model.created_at)}, in <a href={runHref(model.run_id)}>this run</a>
        {model.decided_by && `; decided by ${model.decided_by_name ?? model.decided_by}`}
      </p>
      {actions.length > 0 && (
        <div class="buttons">
          {actions.map(({ decision, label }, index) => (
            <button
              key={decision}
              class={index === 0 ? "primary" : undefined}
              disabled={disabled}
              aria-label={`${label}: ${model.version}`}
              onClick={() => void onDecide(model, decision)}
            >
              {label}
            </button>
          ))}
        </div>
      )}
    </section>
  );
}

function facts(model: Model): string {
  const parts: string[] = [];
  if (model.stories != null) parts.push(counted(model.stories, "story", "stories"));
  if (model.words != null) parts.push(`${count(model.words)} words`);
  const change = improvement(model);
  if (change !== null) parts.push(`${changeInWords(change)} than the base model's`);
  return parts.join(" · ");
}
