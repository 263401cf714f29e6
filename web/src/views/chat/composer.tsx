import type { TargetedKeyboardEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Confirm } from "../../ui/elements";
import { count } from "../../ui/format";
import { SendIcon, StopIcon } from "../../ui/icons";
import styles from "./composer.module.css";
import type { ModelName } from "./conversation";

/** Who answers: the storyteller, the base model, or both side by side. */
export type Choice = ModelName | "both";

const CHOICES: { value: Choice; label: string }[] = [
  { value: "storyloom", label: "My storyteller" },
  { value: "base", label: "Base model" },
  { value: "both", label: "Side by side" },
];

/** How long an answer may be, in tokens. */
export const LENGTHS = {
  short: { label: "A few lines", tokens: 200 },
  page: { label: "About a page", tokens: 500 },
  long: { label: "Long", tokens: 1000 },
} as const;
export type Length = keyof typeof LENGTHS;

interface Props {
  isBusy: boolean;
  isEmpty: boolean;
  choice: Choice;
  /** Whether the base model can be asked, too. */
  canCompare: boolean;
  length: Length;
  /** Characters that a prompt may have. */
  maxCharacters: number;
  onChoice: (choice: Choice) => void;
  onLength: (length: Length) => void;
  onAsk: (prompt: string) => void;
  onStop: () => void;
  onClear: () => void;
}

/** Show the field for the prompt. Enter sends, Shift+Enter starts a new line, Escape stops the answer. */
export function Composer(props: Props) {
  const { isBusy, isEmpty, maxCharacters } = props;
  const [prompt, setPrompt] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  // Also when the conversation begins or is deleted: the button that did it is gone then.
  useEffect(() => field.current?.focus({ preventScroll: true }), [isEmpty]);
  useEffect(() => fitHeight(field.current), [prompt]);

  const isTooLong = prompt.length > maxCharacters;
  const send = () => {
    if (isBusy || isTooLong || prompt.trim() === "") return;
    props.onAsk(prompt.trim());
    setPrompt("");
    field.current?.focus();
  };
  const stop = () => {
    props.onStop();
    field.current?.focus();
  };
  const onKeyDown = (event: TargetedKeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === "Escape" && isBusy) stop();
    // While an input method composes a word, Enter ends the word, not the prompt.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      class={styles.composer}
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class={styles.box}>
        <label class="unseen" for="prompt">
          Your prompt
        </label>
        <textarea
          id="prompt"
          ref={field}
          rows={1}
          value={prompt}
          placeholder="Once upon a time…"
          aria-describedby="prompt-count"
          aria-invalid={isTooLong}
          onInput={(event) => setPrompt(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {isBusy ? (
          <button
            key="stop"
            type="button"
            class={`${styles.round} ${styles.stop}`}
            onClick={stop}
            aria-label="Stop"
            title="Stop (Esc)"
          >
            <StopIcon />
          </button>
        ) : (
          <button
            key="send"
            class={`primary ${styles.round}`}
            aria-label="Send"
            title="Send (Enter)"
            disabled={isTooLong || prompt.trim() === ""}
          >
            <SendIcon />
          </button>
        )}
      </div>
      <p id="prompt-count" class={isTooLong ? `${styles.count} ${styles.excess}` : styles.count} role="status">
        {prompt.length > maxCharacters * 0.8 &&
          `${count(prompt.length)} of ${count(maxCharacters)} characters${isTooLong ? ": shorten it a little" : ""}`}
      </p>
      <Options {...props} />
    </form>
  );
}

function Options(props: Props) {
  const [isClearing, setIsClearing] = useState(false);
  return (
    <div class={styles.options}>
      {props.canCompare && (
        <fieldset class={styles.choices}>
          <legend class="unseen">Who answers</legend>
          {CHOICES.map(({ value, label }) => (
            <label key={value}>
              <input
                type="radio"
                name="choice"
                value={value}
                checked={props.choice === value}
                onChange={() => props.onChoice(value)}
              />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
      )}
      <label class={styles.length}>
        <span class="unseen">Length of the answer</span>
        <select value={props.length} onChange={(event) => props.onLength(event.currentTarget.value as Length)}>
          {Object.entries(LENGTHS).map(([length, { label }]) => (
            <option key={length} value={length}>
              {label}
            </option>
          ))}
        </select>
      </label>
      {!props.isEmpty && (
        <button type="button" class="bare" onClick={() => setIsClearing(true)}>
          Start over
        </button>
      )}
      {isClearing && (
        <Confirm
          question="Delete this conversation?"
          yes="Delete it"
          no="Keep it"
          onClose={() => setIsClearing(false)}
          onConfirm={props.onClear}
        >
          <p>A new one starts. This one is on this device only, and cannot be brought back.</p>
        </Confirm>
      )}
    </div>
  );
}

function fitHeight(field: HTMLTextAreaElement | null): void {
  if (field === null) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
