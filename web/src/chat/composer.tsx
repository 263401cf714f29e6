import type { TargetedKeyboardEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { count } from "../format";
import { SendIcon, StopIcon } from "../icons";
import { type Choice, LENGTHS, type Length } from "./chat";

const CHOICES: { value: Choice; label: string }[] = [
  { value: "storyloom", label: "My storyteller" },
  { value: "base", label: "Base model" },
  { value: "both", label: "Side by side" },
];

const LENGTH_LABELS: Record<Length, string> = { short: "A few lines", page: "About a page", long: "Long" };

interface Props {
  busy: boolean;
  empty: boolean;
  choice: Choice;
  /** Whether the base model can be asked beside the storyteller. */
  comparable: boolean;
  length: Length;
  /** Characters that a prompt may have. */
  limit: number;
  onChoice: (choice: Choice) => void;
  onLength: (length: Length) => void;
  onAsk: (prompt: string) => void;
  onStop: () => void;
  onClear: () => void;
}

/** Where the person writes: Enter sends, Shift+Enter breaks the line, Escape stops the answer. */
export function Composer(props: Props) {
  const { busy, limit } = props;
  const [prompt, setPrompt] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  useEffect(() => fitHeight(field.current), [prompt]);

  const tooLong = prompt.length > limit;
  const send = () => {
    if (busy || tooLong || prompt.trim() === "") return;
    props.onAsk(prompt.trim());
    setPrompt("");
    field.current?.focus();
  };
  const stop = () => {
    props.onStop();
    field.current?.focus();
  };
  const onKeyDown = (event: TargetedKeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === "Escape" && busy) stop();
    // While an input method composes a word, Enter ends the word, not the prompt.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-box">
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
          aria-invalid={tooLong}
          onInput={(event) => setPrompt(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {busy ? (
          <button
            key="stop"
            type="button"
            class="round stop"
            onClick={stop}
            aria-label="Stop"
            title="Stop (Esc)"
          >
            <StopIcon />
          </button>
        ) : (
          <button
            key="send"
            class="round primary"
            aria-label="Send"
            title="Send (Enter)"
            disabled={tooLong || prompt.trim() === ""}
          >
            <SendIcon />
          </button>
        )}
      </div>
      <p id="prompt-count" class={tooLong ? "count bad" : "count"} role="status">
        {prompt.length > limit * 0.8 &&
          `${count(prompt.length)} of ${count(limit)} characters${tooLong ? ": shorten it a little" : ""}`}
      </p>
      <div class="composer-options">
        {props.comparable && (
          <fieldset class="segments">
            <legend class="unseen">Who answers</legend>
            {CHOICES.map(({ value, label }) => (
              <label key={value}>
                <input
                  type="radio"
                  name="voice"
                  value={value}
                  checked={props.choice === value}
                  onChange={() => props.onChoice(value)}
                />
                <span>{label}</span>
              </label>
            ))}
          </fieldset>
        )}
        <label class="length">
          <span class="unseen">Length of the answer</span>
          <select
            value={props.length}
            onChange={(event) => props.onLength(event.currentTarget.value as Length)}
          >
            {(Object.keys(LENGTHS) as Length[]).map((length) => (
              <option key={length} value={length}>
                {LENGTH_LABELS[length]}
              </option>
            ))}
          </select>
        </label>
        {!props.empty && (
          <button type="button" class="bare" onClick={props.onClear}>
            Start over
          </button>
        )}
      </div>
    </form>
  );
}

function fitHeight(field: HTMLTextAreaElement | null): void {
  if (field === null) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
