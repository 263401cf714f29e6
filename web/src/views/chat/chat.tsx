import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Status } from "../../api/contract";
import { runHref } from "../../ui/route";
import { stepTitle } from "../../ui/run-wording";
import styles from "./chat.module.css";
import { type Choice, Composer, type Length, LENGTHS } from "./composer";
import type { Conversation, ModelName } from "./conversation";
import { AnswerAnnouncer, TurnView } from "./turn";
import type { ChatSession, RequestLimits } from "./use-conversation";

/** Characters that a prompt may have, until the API has reported its limit. */
const DEFAULT_PROMPT_CHARACTERS = 8000;

const CONTINUE = "Go on with the story.";

const SUGGESTIONS = [
  "Begin a story on the morning after a great storm.",
  "Two old friends meet at a market, and neither says what they came to say.",
  "Tell me about a house that remembers everyone who has lived in it.",
  "Write the last page of a story about a letter that came too late.",
];

/** Show the conversation and the field for the next prompt. */
export function Chat({ chat, status }: { chat: ChatSession; status: Status | undefined }) {
  const [chosen, setChoice] = useState<Choice>("storyloom");
  // Some base models can only be hosted merged with the adapter: then the base model itself cannot be asked.
  const canCompare = status === undefined || status.live === null || status.models.includes("base");
  const choice = canCompare ? chosen : "storyloom";
  const [length, setLength] = useState<Length>("page");
  const { turns } = chat.conversation;
  const limits: RequestLimits = {
    promptCharacters: status?.limits.prompt_characters ?? DEFAULT_PROMPT_CHARACTERS,
    answerTokens: LENGTHS[length].tokens,
  };
  const followEnd = useScrollToEnd(chat.conversation);

  const askModels = (prompt: string, models: ModelName[]) => {
    followEnd();
    chat.ask(prompt, models, limits);
  };
  const ask = (prompt: string) => askModels(prompt, choice === "both" ? ["storyloom", "base"] : [choice]);
  const isWide = turns.some((turn) => turn.answers.length > 1);

  return (
    <div class={isWide ? `${styles.conversation} ${styles.wide}` : styles.conversation}>
      <h1 class="unseen">Chat</h1>
      {turns.length === 0 ? (
        <Welcome status={status} onPick={ask} />
      ) : (
        <ol class={styles.turns} aria-label="Conversation">
          {turns.map((turn, index) => (
            <TurnView
              key={turn.id}
              turn={turn}
              canAsk={index === turns.length - 1 && !chat.isBusy}
              onRetry={(model) => chat.retry(turn.id, model, limits)}
              onSelectTake={(model, shown) => chat.selectTake(turn.id, model, shown)}
              onContinue={(model) => askModels(CONTINUE, [model])}
            />
          ))}
        </ol>
      )}
      <AnswerAnnouncer turn={turns.at(-1)} />
      <Composer
        isBusy={chat.isBusy}
        isEmpty={turns.length === 0}
        choice={choice}
        canCompare={canCompare}
        length={length}
        maxCharacters={limits.promptCharacters}
        onChoice={setChoice}
        onLength={setLength}
        onAsk={ask}
        onStop={chat.stop}
        onClear={chat.clear}
      />
    </div>
  );
}

function Welcome({ status, onPick }: { status: Status | undefined; onPick: (prompt: string) => void }) {
  return (
    <section class={styles.welcome}>
      <h2>What shall we write?</h2>
      {status !== undefined && status.live === null ? (
        <NoStorytellerYet status={status} />
      ) : (
        <p class="quiet">
          Give your storyteller a first line, a place or a person, and read along as it writes.
        </p>
      )}
      <ul class={styles.suggestions} aria-label="Ideas to begin with">
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
        Your stories are read. Before your storyteller is trained,{" "}
        <a href={runHref(run.run_id)}>approve what that costs</a>.
      </p>
    );
  }
  if (run?.status === "running") {
    return (
      <p class="notice">
        Your storyteller is being made. Its current step: <a href={runHref(run.run_id)}>{stepTitle(run.step)}</a>.
      </p>
    );
  }
  return (
    <p class="notice">
      There is no storyteller yet. <a href="#/stories">Add your stories</a>, and one is trained on them.
    </p>
  );
}

/**
 * Keep the end of a growing conversation in view, unless the person has scrolled up to read.
 *
 * An empty conversation shows its beginning. Returns a function that goes back to the end.
 */
function useScrollToEnd(conversation: Conversation): () => void {
  const isAtEnd = useRef(true);
  useEffect(() => {
    const onScroll = () => {
      const below = document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
      isAtEnd.current = below < 80; // pixels: about two lines of text
    };
    window.addEventListener("scroll", onScroll, { passive: true });
    return () => window.removeEventListener("scroll", onScroll);
  }, []);
  useLayoutEffect(() => {
    if (conversation.turns.length === 0) window.scrollTo(0, 0);
    else if (isAtEnd.current) window.scrollTo(0, document.documentElement.scrollHeight);
  }, [conversation]);
  return useCallback(() => {
    isAtEnd.current = true;
  }, []);
}
