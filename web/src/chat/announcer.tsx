import { shownTake, type Turn, underWay } from "./state";
import { completeSentences } from "./text";
import { VOICE_NAMES } from "./turn";

/** Reads the newest answer aloud for screen readers, sentence by sentence as each is complete. */
export function Announcer({ turn }: { turn: Turn | undefined }) {
  const answers = turn?.answers ?? [];
  return (
    <div
      class="unseen"
      role="log"
      aria-live="polite"
      aria-relevant="additions"
      aria-label="Answer as it is written"
    >
      {answers.map((answer) => {
        const take = shownTake(answer);
        const sentences = completeSentences(take.text, !underWay(take));
        return (
          <div key={take.id}>
            {sentences.map((sentence, index) => (
              <p key={index}>{index === 0 ? `${VOICE_NAMES[answer.voice]}: ${sentence}` : sentence}</p>
            ))}
            {take.state === "stopped" && <p>Stopped.</p>}
            {(take.state === "done" || take.state === "cut") && <p>End of the answer.</p>}
          </div>
        );
      })}
    </div>
  );
}
