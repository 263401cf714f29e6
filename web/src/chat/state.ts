import type { Problem } from "../api";
import type { ChatRequest } from "../contract";

/** A model the page can talk with, under its name in the API. */
export type Voice = "storyloom" | "base";

/**
 * Where one take of an answer stands: asked and nothing back yet, the model being woken, words coming in,
 * complete, complete but cut at the chosen length, stopped by the person, or broken off by an error.
 */
export type TakeState = "asked" | "waking" | "streaming" | "done" | "cut" | "stopped" | "broken";

export interface WakingState {
  stage: string;
  /** When the waking was first seen, in milliseconds since 1970. */
  since: number;
  /** When the model should answer, by the API's newest guess; null when it has none. */
  readyAt: number | null;
}

/** One try at an answer. Asking again adds a take and keeps the ones before. */
export interface Take {
  id: string;
  state: TakeState;
  text: string;
  /** The model that really answered, such as `v2`. */
  model: string | null;
  waking: WakingState | null;
  problem: Problem | null;
}

export interface Answer {
  voice: Voice;
  takes: Take[];
  /** Index of the take on view. */
  shown: number;
}

export interface Turn {
  id: string;
  prompt: string;
  answers: Answer[];
}

export interface Conversation {
  turns: Turn[];
}

export const EMPTY: Conversation = { turns: [] };

export type ChatEvent =
  | { type: "asked"; turnId: string; prompt: string; takes: { voice: Voice; takeId: string }[] }
  | { type: "asked-again"; turnId: string; voice: Voice; takeId: string }
  | { type: "take-chosen"; turnId: string; voice: Voice; shown: number }
  | { type: "cleared" }
  | TakeEvent;

/** What happens to one take while its answer is being fetched. */
export type TakeEvent = { takeId: string } & TakeNews;

export type TakeNews =
  | { type: "waking"; stage: string; expectedSeconds: number | null; at: number }
  | { type: "words"; text: string; model: string | null }
  | { type: "finished"; reason: string | null }
  | { type: "stopped" }
  | { type: "broke"; problem: Problem };

/** The conversation after an event. Nothing that was said is ever dropped, except by `cleared`. */
export function conversationAfter(conversation: Conversation, event: ChatEvent): Conversation {
  switch (event.type) {
    case "cleared":
      return EMPTY;
    case "asked":
      return { turns: [...conversation.turns, newTurn(event)] };
    case "asked-again":
      return inAnswer(conversation, event, (answer) => ({
        ...answer,
        takes: [...answer.takes, newTake(event.takeId)],
        shown: answer.takes.length,
      }));
    case "take-chosen":
      return inAnswer(conversation, event, (answer) => ({
        ...answer,
        shown: Math.min(Math.max(event.shown, 0), answer.takes.length - 1),
      }));
    default:
      return inTake(conversation, event.takeId, (take) => takeAfter(take, event));
  }
}

function takeAfter(take: Take, news: TakeNews): Take {
  switch (news.type) {
    case "waking":
      return {
        ...take,
        state: "waking",
        waking: {
          stage: news.stage,
          since: take.waking?.since ?? news.at,
          readyAt: news.expectedSeconds === null ? null : news.at + news.expectedSeconds * 1000,
        },
      };
    case "words":
      return {
        ...take,
        state: "streaming",
        waking: null,
        text: take.text + news.text,
        model: news.model ?? take.model,
      };
    case "finished":
      return { ...take, state: news.reason === "length" ? "cut" : "done", waking: null };
    case "stopped":
      return { ...take, state: "stopped", waking: null };
    case "broke":
      return { ...take, state: "broken", waking: null, problem: news.problem };
  }
}

function newTurn(event: Extract<ChatEvent, { type: "asked" }>): Turn {
  const answers = event.takes.map(({ voice, takeId }) => ({ voice, takes: [newTake(takeId)], shown: 0 }));
  return { id: event.turnId, prompt: event.prompt, answers };
}

function newTake(id: string): Take {
  return { id, state: "asked", text: "", model: null, waking: null, problem: null };
}

function inAnswer(
  conversation: Conversation,
  { turnId, voice }: { turnId: string; voice: Voice },
  change: (answer: Answer) => Answer,
): Conversation {
  const turns = conversation.turns.map((turn) =>
    turn.id !== turnId
      ? turn
      : {
          ...turn,
          answers: turn.answers.map((answer) => (answer.voice === voice ? change(answer) : answer)),
        },
  );
  return { turns };
}

function inTake(conversation: Conversation, takeId: string, change: (take: Take) => Take): Conversation {
  // Untouched turns and answers keep their identity, so that only the one that grew is drawn again.
  const turns = conversation.turns.map((turn) => {
    if (!turn.answers.some((answer) => answer.takes.some((take) => take.id === takeId))) return turn;
    const answers = turn.answers.map((answer) =>
      answer.takes.some((take) => take.id === takeId)
        ? { ...answer, takes: answer.takes.map((take) => (take.id === takeId ? change(take) : take)) }
        : answer,
    );
    return { ...turn, answers };
  });
  return { turns };
}

/** The take on view. */
export function shownTake(answer: Answer): Take {
  const take = answer.takes[answer.shown];
  if (take === undefined) throw new Error("An answer always has the take that it shows.");
  return take;
}

/** Whether words may still come. */
export function underWay(take: Take): boolean {
  return take.state === "asked" || take.state === "waking" || take.state === "streaming";
}

/** Whether an answer waits for its model to wake. */
export function awaitsWaking(conversation: Conversation): boolean {
  return conversation.turns.some((turn) =>
    turn.answers.some((answer) => shownTake(answer).state === "waking"),
  );
}

/** Whether any answer is still being written. */
export function busy(conversation: Conversation): boolean {
  return conversation.turns.some((turn) => turn.answers.some((answer) => answer.takes.some(underWay)));
}

/** The most that the API takes in one chat. */
const MOST_MESSAGES = 200;

/**
 * What to send for the turn at `index`: the prompt and as much of the conversation before it as fits.
 *
 * Each model is shown its own earlier answers; where it has none, the other's stand in.
 *
 * @param limit characters that the messages may have together; the oldest turns are left out first.
 */
export function messagesFor(
  turns: readonly Turn[],
  index: number,
  voice: Voice,
  limit: number,
): ChatRequest["messages"] {
  const turn = turns[index];
  if (turn === undefined) throw new Error(`There is no turn ${index}.`);
  let messages: ChatRequest["messages"] = [{ role: "user", content: turn.prompt }];
  let characters = turn.prompt.length;
  for (const earlier of turns.slice(0, index).reverse()) {
    const said = saidBy(earlier, voice);
    if (said === "") continue; // a prompt without an answer would only confuse the model
    characters += earlier.prompt.length + said.length;
    if (characters > limit || messages.length + 2 > MOST_MESSAGES) break;
    messages = [{ role: "user", content: earlier.prompt }, { role: "assistant", content: said }, ...messages];
  }
  return messages;
}

function saidBy(turn: Turn, voice: Voice): string {
  const own = turn.answers.find((answer) => answer.voice === voice);
  const texts = [own, ...turn.answers].map((answer) => (answer === undefined ? "" : shownTake(answer).text));
  return texts.find((text) => text !== "") ?? "";
}
