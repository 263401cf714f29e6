import { memo } from "preact/compat";
import { CopyButton } from "../copy";
import { duration } from "../format";
import { AgainIcon, BeforeIcon, NextIcon, OnIcon } from "../icons";
import { ProblemNotice } from "../notices";
import {
  type Answer,
  shownTake,
  type Take,
  type Turn,
  underWay,
  type Voice,
  type WakingState,
} from "./state";
import { paragraphs } from "./text";
import { useNow } from "../use-now";

export const VOICE_NAMES: Record<Voice, string> = { storyloom: "Your storyteller", base: "Base model" };

interface Props {
  turn: Turn;
  last: boolean;
  busy: boolean;
  onAgain: (voice: Voice) => void;
  onTake: (voice: Voice, shown: number) => void;
  onGoOn: (voice: Voice) => void;
}

/** One prompt and its answer, or its two answers beside each other. */
export function TurnView({ turn, last, busy, onAgain, onTake, onGoOn }: Props) {
  return (
    <li class={turn.answers.length > 1 ? "turn pair" : "turn"}>
      <div class="prompt">
        <span class="unseen">You wrote: </span>
        {turn.prompt}
      </div>
      <div class="answers">
        {turn.answers.map((answer) => (
          <AnswerView
            key={answer.voice}
            answer={answer}
            last={last}
            busy={busy}
            onAgain={() => onAgain(answer.voice)}
            onTake={(shown) => onTake(answer.voice, shown)}
            onGoOn={() => onGoOn(answer.voice)}
          />
        ))}
      </div>
    </li>
  );
}

interface AnswerProps {
  answer: Answer;
  last: boolean;
  busy: boolean;
  onAgain: () => void;
  onTake: (shown: number) => void;
  onGoOn: () => void;
}

function AnswerView({ answer, last, busy, onAgain, onTake, onGoOn }: AnswerProps) {
  const take = shownTake(answer);
  return (
    <article class="answer" data-voice={answer.voice} data-state={take.state} aria-busy={underWay(take)}>
      <h2>
        {VOICE_NAMES[answer.voice]}
        {take.model !== null && take.model !== answer.voice && <span class="version"> {take.model}</span>}
      </h2>
      {take.waking !== null && <WakingNotice waking={take.waking} />}
      {take.state === "asked" && (
        <p class="thinking">
          <span class="unseen">Waiting for the first word</span>
        </p>
      )}
      <Prose text={take.text} />
      {take.state === "stopped" && <p class="quiet small">Stopped here.</p>}
      {take.state === "broken" && <ProblemNotice problem={take.problem} />}
      {!underWay(take) && (
        <div class="actions">
          {take.text !== "" && <CopyButton text={take.text} />}
          <Takes answer={answer} onTake={onTake} />
          {last && !busy && (
            <button class="bare" onClick={onAgain}>
              <AgainIcon /> Try again
            </button>
          )}
          {last && !busy && goesOn(take) && (
            <button class="bare" onClick={onGoOn}>
              <OnIcon /> Go on
            </button>
          )}
        </div>
      )}
    </article>
  );
}

function goesOn(take: Take): boolean {
  return take.text !== "" && take.state !== "broken";
}

// A paragraph once complete never changes: only the growing last one is drawn again.
const Paragraph = memo(({ text }: { text: string }) => <p>{text}</p>);

function Prose({ text }: { text: string }) {
  return (
    <div class="prose">
      {paragraphs(text).map((paragraph, index) => (
        <Paragraph key={index} text={paragraph} />
      ))}
    </div>
  );
}

function WakingNotice({ waking: { since, readyAt } }: { waking: WakingState }) {
  const now = useNow(1);
  const left = readyAt === null ? null : (readyAt - now) / 1000;
  return (
    <div class="waking">
      <p role="status">
        Your storyteller was asleep and is waking up. Your message is kept and goes out by itself.
      </p>
      <progress
        aria-label="Waking"
        // Never quite full before the first word is there.
        value={readyAt === null ? undefined : Math.min((now - since) / Math.max(readyAt - since, 1), 0.97)}
      />
      <p class="quiet small">{remaining(left)}</p>
    </div>
  );
}

function remaining(left: number | null): string {
  if (left === null) return "This takes a few minutes.";
  if (left <= 0) return "A little longer than usual; still waking.";
  // To ten seconds: a figure that ticks each second pulls the eye.
  return `About ${duration(Math.max(10, Math.round(left / 10) * 10))} left.`;
}

function Takes({ answer, onTake }: { answer: Answer; onTake: (shown: number) => void }) {
  const { takes, shown } = answer;
  if (takes.length < 2) return null;
  return (
    <span class="takes" role="group" aria-label="Takes">
      <button class="bare" aria-label="Take before" disabled={shown === 0} onClick={() => onTake(shown - 1)}>
        <BeforeIcon />
      </button>
      <span role="status">
        {shown + 1} of {takes.length}
      </span>
      <button
        class="bare"
        aria-label="Next take"
        disabled={shown === takes.length - 1}
        onClick={() => onTake(shown + 1)}
      >
        <NextIcon />
      </button>
    </span>
  );
}
