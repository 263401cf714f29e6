/** The elements that several views share: a problem, a question, a badge, a button that copies, a wide table. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type Problem, problemOf } from "../api/client";
import styles from "./elements.module.css";
import { CopyIcon } from "./icons";

/** Show what went wrong and what to do about it; screen readers announce it. */
export function ProblemNotice({ problem }: { problem: Problem | null }) {
  if (problem === null) return null;
  return (
    <p class="notice bad" role="alert">
      {problem.message}
      {problem.cure !== null && <> {problem.cure}</>}
    </p>
  );
}

interface ConfirmProps {
  question: string;
  /** Label of the button that does it. */
  yes: string;
  /** Label of the button that changes nothing. */
  no: string;
  /** Does it. An error that it throws is shown, and the person may try again. */
  onConfirm: () => Promise<void> | void;
  /** Called when the dialog has closed, whatever the answer. */
  onClose: () => void;
  /** What will happen. */
  children: ComponentChildren;
}

/** Ask before something that is hard to undo. Escape means no; the browser moves the focus back. */
export function Confirm({ question, yes, no, onConfirm, onClose, children }: ConfirmProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => dialog.current?.showModal(), []);

  const confirm = async () => {
    setSending(true);
    setProblem(null);
    try {
      await onConfirm();
      dialog.current?.close();
    } catch (error) {
      setProblem(problemOf(error));
      setSending(false);
    }
  };

  return (
    <dialog ref={dialog} class={styles.confirm} aria-labelledby={title} onClose={onClose}>
      <h2 id={title}>{question}</h2>
      {children}
      <ProblemNotice problem={problem} />
      <div class="buttons">
        <button type="button" class="danger" disabled={sending} onClick={() => void confirm()}>
          {yes}
        </button>
        <button type="button" autofocus onClick={() => dialog.current?.close()}>
          {no}
        </button>
      </div>
    </dialog>
  );
}

/** Show a status in a word or two, coloured by its kind. */
export function Badge({ status, label }: { status: string; label: string }) {
  return (
    <span class={styles.badge} data-status={status}>
      {label}
    </span>
  );
}

/** Copy a text to the clipboard and show whether that worked. */
export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const [result, setResult] = useState<string | null>(null);
  const copy = async () => {
    const copied = await navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
    setResult(copied ? "Copied" : "Not allowed to copy");
    setTimeout(() => setResult(null), 2000);
  };
  return (
    <button class="bare" onClick={copy}>
      <CopyIcon /> <span aria-live="polite">{result ?? label}</span>
    </button>
  );
}

/** Hold a table that may be wider than the window; it scrolls by itself, by keyboard too. */
export function ScrollingTable({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class={styles.scrolling} tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}
