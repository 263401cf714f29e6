import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Status } from "../contract";
import { runAddress } from "../route";
import { stepTitle } from "../runs/steps";
import { Announcer } from "./announcer";
import { Composer } from "./composer";
import type { Voice } from "./state";
import { TurnView } from "./turn";
import type { Limits, Talk } from "./use-conversation";

/** Who answers: the storyteller, the base model, or both beside each other. */
export type Choice = Voice | "both";

/** How much to write, in tokens; a token is about three quarters of a word. */
export const LENGTHS = { short: 200, page: 500, long: 1000 } as const;
export type Length = keyof typeof LENGTHS;

/** Characters of a prompt before the API has told its own limit. */
const USUAL_PROMPT_CHARACTERS = 8000;

const GO_ON = "Go on with the story.";

const SUGGESTIONS = [
  "Begin a story on the morning after a great storm.",
  "Two old friends meet at a market, and neither says what they came to say.",
  "Tell me about a house that remembers everyone who has lived in it.",
  "Write the last page of a story about a letter that came too late.",
];

/** The conversation. */
export function Chat({ talk, status }: { talk: Talk; status: Status | undefined }) {
  const [chosen, setChoice] = useState<Choice>("storyloom");
  // Some base models can be hosted only with the stories merged in: then there is no base to ask.
  const comparable = status === undefined || status.live === null || status.models.includes("base");
  const choice = comparable ? chosen : "storyloom";
  const [length, setLength] = useState<Length>("page");
  const { turns } = talk.conversation;
  const limits: Limits = {
    promptCharacters: status?.limits.prompt_characters ?? USUAL_PROMPT_CHARACTERS,
    answerTokens: LENGTHS[length],
  };
  const followEnd = useFollowingEnd(talk.conversation);

  const say = (prompt: string, voices: Voice[]) => {
    followEnd();
    talk.ask(prompt, voices, limits);
  };
  const ask = (prompt: string) => say(prompt, choice === "both" ? ["storyloom", "base"] : [choice]);

  return (
    <>
      <h1 class="unseen">Chat</h1>
      {turns.length === 0 ? (
        <Welcome status={status} onPick={ask} />
      ) : (
        <ol class="turns">
          {turns.map((turn, index) => (
            <TurnView
              key={turn.id}
              turn={turn}
              last={index === turns.length - 1}
              busy={talk.busy}
              onAgain={(voice) => talk.askAgain(turn.id, voice, limits)}
              onTake={(voice, shown) => talk.chooseTake(turn.id, voice, shown)}
              onGoOn={(voice) => say(GO_ON, [voice])}
            />
          ))}
        </ol>
      )}
      <Announcer turn={turns.at(-1)} />
      <Composer
        busy={talk.busy}
        empty={turns.length === 0}
        choice={choice}
        comparable={comparable}
        length={length}
        limit={limits.promptCharacters}
        onChoice={setChoice}
        onLength={setLength}
        onAsk={ask}
        onStop={talk.stop}
        onClear={talk.clear}
      />
    </>
  );
}

function Welcome({ status, onPick }: { status: Status | undefined; onPick: (prompt: string) => void }) {
  return (
    <section class="welcome">
      <h2>What shall we write?</h2>
      {status !== undefined && status.live === null ? (
        <NoStorytellerYet status={status} />
      ) : (
        <p class="quiet">
          Give your storyteller a first line, a place or a person, and read along as it writes.
        </p>
      )}
      <ul class="suggestions" aria-label="Ideas to begin with">
        {SUGGESTIONS.map((suggestion) => (
          <li key={suggestion}>
            <button onClick={() => onPick(suggestion)}>{suggestion}</button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function NoStorytellerYet({ status: { run } }: { status: Status }) {
  if (run?.status === "waiting") {
    return (
      <p class="notice">
        Your stories are read. Before your storyteller is made,{" "}
        <a href={runAddress(run.run_id)}>say yes to what it costs</a>.
      </p>
    );
  }
  if (run?.status === "running") {
    return (
      <p class="notice">
        Your storyteller is being made right now: <a href={runAddress(run.run_id)}>{stepTitle(run.step)}</a>.
      </p>
    );
  }
  return (
    <p class="notice">
      There is no storyteller yet. <a href="#/stories">Add your stories</a>, and one is made from them.
    </p>
  );
}

/**
 * Keep the end of the conversation in view while it grows, unless the person has scrolled up to read.
 *
 * Returns a function that goes to the end and follows it again.
 */
function useFollowingEnd(content: unknown): () => void {
  const following = useRef(true);
  useEffect(() => {
    const look = () => {
      const below = document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
      following.current = below < 80; // pixels: about two lines of text
    };
    window.addEventListener("scroll", look, { passive: true });
    return () => window.removeEventListener("scroll", look);
  }, []);
  useLayoutEffect(() => {
    if (following.current) window.scrollTo(0, document.documentElement.scrollHeight);
  }, [content]);
  return useCallback(() => {
    following.current = true;
  }, []);
}
