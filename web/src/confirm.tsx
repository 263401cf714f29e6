import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type Problem, problemOf } from "./api";
import { ProblemNotice } from "./notices";

interface Props {
  question: string;
  /** The words of the button that does it. */
  yes: string;
  /** The words of the button that leaves everything as it is. */
  no: string;
  /** Do it; what it throws is shown, and can be tried again. */
  act: () => Promise<void>;
  /** Called when the question is gone, however it was answered. */
  onClose: () => void;
  /** What comes of it. */
  children: ComponentChildren;
}

/** A question before something that is not easily undone. Escape says no; the focus goes back by itself. */
export function Confirm({ question, yes, no, act, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => dialog.current?.showModal(), []);

  const doIt = async () => {
    setSending(true);
    setProblem(null);
    try {
      await act();
      dialog.current?.close();
    } catch (error) {
      setProblem(problemOf(error));
      setSending(false);
    }
  };

  return (
    <dialog ref={dialog} class="confirm" aria-labelledby={title} onClose={onClose}>
      <h2 id={title}>{question}</h2>
      {children}
      <ProblemNotice problem={problem} />
      <div class="answers">
        <button class="danger" disabled={sending} onClick={() => void doIt()}>
          {yes}
        </button>
        <button autofocus onClick={() => dialog.current?.close()}>
          {no}
        </button>
      </div>
    </dialog>
  );
}
