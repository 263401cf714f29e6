import { useEffect, useRef } from "preact/hooks";
import type { MadeKey } from "../contract";
import { CopyButton } from "../copy";
import { tryLine } from "./words";

/** A new key's text, which no other answer has, and a line to try it with. */
export function MadeKeyCard({ made, onDone }: { made: MadeKey; onDone: () => void }) {
  const card = useRef<HTMLElement>(null);
  // Made anew for each key: whoever works without a mouse would otherwise look for it.
  useEffect(() => card.current?.focus(), [made]);
  const line = tryLine(location.origin, made.key, made.scopes);
  return (
    <section ref={card} class="card question" aria-labelledby="made-key" tabIndex={-1}>
      <h2 id="made-key">The key of {made.name}</h2>
      <p>
        <strong>It is shown only now.</strong> Copy it to where your program reads it.
      </p>
      <TextToCopy name="Key" text={made.key} />
      {line !== null && (
        <>
          <p>To try it, paste this into a terminal. Like the key itself, it is for nobody else.</p>
          <TextToCopy name="Line to try it" text={line} />
        </>
      )}
      <div class="answers">
        <button onClick={onDone}>I have it, hide it</button>
      </div>
    </section>
  );
}

function TextToCopy({ name, text }: { name: string; text: string }) {
  return (
    <div class="to-copy">
      <pre tabIndex={0} role="region" aria-label={name}>
        {text}
      </pre>
      <CopyButton text={text} label={`Copy the ${name.toLowerCase()}`} />
    </div>
  );
}
