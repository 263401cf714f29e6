import { useCallback, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api";
import type { Model, VersionDecision } from "../contract";
import { count, counted, instant } from "../format";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";
import { runAddress } from "../route";
import { improvement } from "../runs/words";
import { CHOICES, STATUS_WORDS } from "./words";

/** All versions of the storyteller, newest first, and what may be done with each. */
export function Models({ api }: { api: Api }) {
  const {
    value: models,
    problem,
    reload,
  } = usePoll(useCallback((signal: AbortSignal) => api.models(signal), [api]), () => 10);
  const [refused, setRefused] = useState<Problem | null>(null);
  const [said, setSaid] = useState("");
  const [sending, setSending] = useState(false);

  const decide = async (model: Model, decision: VersionDecision) => {
    setSending(true);
    setRefused(null);
    try {
      setSaid(await api.decide(model.version, decision));
    } catch (error) {
      setSaid("");
      setRefused(problemOf(error));
    }
    setSending(false);
    reload();
  };

  return (
    <>
      <h1>Versions</h1>
      <p class="quiet lede">Every run makes a version of your storyteller. One of them answers.</p>
      <ProblemNotice problem={refused ?? problem} />
      <p role="status">{said}</p>
      {models === undefined && problem === null && <p class="quiet">Loading…</p>}
      {models?.length === 0 && (
        <p class="notice">
          No version yet. <a href="#/stories">Add your stories</a>; a run makes the first one.
        </p>
      )}
      {models?.map((model) => (
        <VersionCard key={model.version} model={model} sending={sending} onDecide={decide} />
      ))}
    </>
  );
}

interface CardProps {
  model: Model;
  /** While an answer is on its way, no other is given. */
  sending: boolean;
  onDecide: (model: Model, decision: VersionDecision) => Promise<void>;
}

function VersionCard({ model, sending, onDecide }: CardProps) {
  return (
    <section class="card" aria-labelledby={`version-${model.version}`}>
      <div class="run-head">
        <h2 id={`version-${model.version}`}>{model.version}</h2>
        <span class="badge" data-status={model.status}>
          {STATUS_WORDS[model.status]}
        </span>
      </div>
      <p>{facts(model)}</p>
      {model.decision && <p>{model.decision}</p>}
      <p class="quiet small">
        {instant(model.created_at)}, in <a href={runAddress(model.run_id)}>this run</a>
        {model.decided_by && `; decided by ${model.decided_by_name ?? model.decided_by}`}
      </p>
      <div class="answers">
        {CHOICES[model.status].map(({ decision, label }, index) => (
          <button
            key={decision}
            class={index === 0 ? "primary" : undefined}
            disabled={sending}
            aria-label={`${label}: ${model.version}`}
            onClick={() => void onDecide(model, decision)}
          >
            {label}
          </button>
        ))}
      </div>
    </section>
  );
}

function facts(model: Model): string {
  const parts: string[] = [];
  if (model.stories != null) parts.push(counted(model.stories, "story", "stories"));
  if (model.words != null) parts.push(`${count(model.words)} words`);
  const better = improvement(model);
  if (better !== null) {
    parts.push(`${Math.abs(Math.round(better))}% ${better >= 0 ? "less" : "more"} surprised than the base model`);
  }
  return parts.join(" · ");
}
