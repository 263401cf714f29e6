import { useState } from "preact/hooks";
import { CopyIcon } from "./icons";

/** Takes a text to the clipboard, and says whether it did. */
export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const [outcome, setOutcome] = useState<string | null>(null);
  const copy = async () => {
    const copied = await navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
    setOutcome(copied ? "Copied" : "Not allowed to copy");
    setTimeout(() => setOutcome(null), 2000);
  };
  return (
    <button class="bare" onClick={copy}>
      <CopyIcon /> <span aria-live="polite">{outcome ?? label}</span>
    </button>
  );
}
