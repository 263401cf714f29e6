import { memo } from "preact/compat";
import { CopyButton, ProblemNotice } from "../../ui/elements";
import { duration } from "../../ui/format";
import { useNow } from "../../ui/hooks";
import { ContinueIcon, NextIcon, PreviousIcon, RetryIcon } from "../../ui/icons";
import { type Answer, isPending, type ModelName, shownTake, type Take, type Turn, type WakingState } from "./conversation";
import styles from "./turn.module.css";

const MODEL_LABELS: Record<ModelName, string> = { storyloom: "Your storyteller", base: "Base model" };

interface Props {
  turn: Turn;
  /** Whether a model can be asked here: this is the last turn, and no answer is being written. */
  canAsk: boolean;
  onRetry: (model: ModelName) => void;
  onSelectTake: (model: ModelName, shown: number) => void;
  onContinue: (model: ModelName) => void;
}

/** Show one prompt and its answer, or its two answers side by side. */
export function TurnView({ turn, canAsk, onRetry, onSelectTake, onContinue }: Props) {
  return (
    <li class={turn.answers.length > 1 ? `${styles.turn} ${styles.pair}` : styles.turn}>
      <div class={styles.prompt}>
        <span class="unseen">You wrote: </span>
        {turn.prompt}
      </div>
      <div class={styles.answers}>
        {turn.answers.map((answer) => (
          <AnswerView
            key={answer.model}
            answer={answer}
            canAsk={canAsk}
            onRetry={() => onRetry(answer.model)}
            onSelectTake={(shown) => onSelectTake(answer.model, shown)}
            onContinue={() => onContinue(answer.model)}
          />
        ))}
      </div>
    </li>
  );
}

interface AnswerProps {
  answer: Answer;
  canAsk: boolean;
  onRetry: () => void;
  onSelectTake: (shown: number) => void;
  onContinue: () => void;
}

function AnswerView({ answer, canAsk, onRetry, onSelectTake, onContinue }: AnswerProps) {
  const take = shownTake(answer);
  return (
    <article class={styles.answer} data-model={answer.model} data-state={take.state} aria-busy={isPending(take)}>
      <h2>
        {MODEL_LABELS[answer.model]}
        {take.answeredBy !== null && take.answeredBy !== answer.model && (
          <span class={styles.version}> {take.answeredBy}</span>
        )}
      </h2>
      {take.waking !== null && <WakingNotice waking={take.waking} />}
      {take.state === "asked" && (
        <p class={styles.thinking}>
          <span class="unseen">Waiting for the first word</span>
        </p>
      )}
      <Prose text={take.text} />
      {take.state === "stopped" && <p class="quiet small">Stopped here.</p>}
      {take.state === "failed" && <ProblemNotice problem={take.problem} />}
      {!isPending(take) && (
        <div class={styles.actions}>
          {take.text !== "" && <CopyButton text={take.text} />}
          <Takes answer={answer} onSelect={onSelectTake} />
          {canAsk && (
            <button class="bare" onClick={onRetry}>
              <RetryIcon /> Try again
            </button>
          )}
          {canAsk && canContinue(take) && (
            <button class="bare" onClick={onContinue}>
              <ContinueIcon /> Continue
            </button>
          )}
        </div>
      )}
    </article>
  );
}

function canContinue(take: Take): boolean {
  return take.text !== "" && take.state !== "failed";
}

// A complete paragraph never changes, so only the last one is drawn again while the text grows.
const Paragraph = memo(({ text }: { text: string }) => <p>{text}</p>);

function Prose({ text }: { text: string }) {
  return (
    <div class={styles.prose} data-part="prose">
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
    <div class={styles.waking}>
      <p role="status">
        Your storyteller was asleep and is waking up. Your message is kept and is sent by itself.
      </p>
      <progress
        aria-label="Waking"
        // Never quite full before the first word has arrived.
        value={readyAt === null ? undefined : Math.min((now - since) / Math.max(readyAt - since, 1), 0.97)}
      />
      <p class="quiet small">{remainingInWords(left)}</p>
    </div>
  );
}

function remainingInWords(left: number | null): string {
  if (left === null) return "This takes a few minutes.";
  if (left <= 0) return "A little longer than usual; still waking.";
  // Rounded to ten seconds: a figure that changes each second distracts.
  return `About ${duration(Math.max(10, Math.round(left / 10) * 10))} left.`;
}

function Takes({ answer, onSelect }: { answer: Answer; onSelect: (shown: number) => void }) {
  const { takes, shown } = answer;
  if (takes.length < 2) return null;
  return (
    <span class={styles.takes} role="group" aria-label="Takes">
      <button class="bare" aria-label="Previous take" disabled={shown === 0} onClick={() => onSelect(shown - 1)}>
        <PreviousIcon />
      </button>
      <span role="status">
        {shown + 1} of {takes.length}
      </span>
      <button
        class="bare"
        aria-label="Next take"
        disabled={shown === takes.length - 1}
        onClick={() => onSelect(shown + 1)}
      >
        <NextIcon />
      </button>
    </span>
  );
}

/** Split a story into its paragraphs. Single line breaks stay: dialogue and verse need them. */
export function paragraphs(text: string): string[] {
  return text
    .split(/\n[ \t]*\n\s*/)
    .map((paragraph) => paragraph.replace(/^\n+|\s+$/g, ""))
    .filter((paragraph) => paragraph !== "");
}

/** Let screen readers read the newest answer sentence by sentence. Token by token they would stutter. */
export function AnswerAnnouncer({ turn }: { turn: Turn | undefined }) {
  const answers = turn?.answers ?? [];
  return (
    <div class="unseen" role="log" aria-live="polite" aria-relevant="additions" aria-label="Answer as it is written">
      {answers.map((answer) => {
        const take = shownTake(answer);
        const sentences = completeSentences(take.text, !isPending(take));
        return (
          <div key={take.id}>
            {sentences.map((sentence, index) => (
              <p key={index}>{index === 0 ? `${MODEL_LABELS[answer.model]}: ${sentence}` : sentence}</p>
            ))}
            {take.state === "stopped" && <p>Stopped.</p>}
            {(take.state === "done" || take.state === "cut") && <p>End of the answer.</p>}
          </div>
        );
      })}
    </div>
  );
}

const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });

/** Return the sentences that are complete while a text grows, and all of them once it has ended. */
export function completeSentences(text: string, hasEnded: boolean): string[] {
  const sentences = Array.from(segmenter.segment(text), ({ segment }) => segment);
  return (hasEnded ? sentences : sentences.slice(0, -1)).map((s) => s.trim()).filter((s) => s !== "");
}
