/** The conversation as data: its turns, answers and takes, and what each event changes. */
import type { Problem } from "../../api/client";
import type { ChatRequest } from "../../api/contract";

/** A model that the page can ask, under its name in the API. */
export type ModelName = "storyloom" | "base";

/**
 * The state of one take: nothing has arrived yet, the model is waking, text is arriving, the take is complete,
 * complete but cut at the chosen length, stopped by the person, or ended by an error.
 */
export type TakeState = "asked" | "waking" | "streaming" | "done" | "cut" | "stopped" | "failed";

export interface WakingState {
  stage: string;
  /** When the model was first seen waking, in milliseconds since 1970. */
  since: number;
  /** When the model should answer by the API's newest estimate; null if it has none. */
  readyAt: number | null;
}

/** One attempt at an answer. *Try again* adds a take and keeps the earlier ones. */
export interface Take {
  id: string;
  state: TakeState;
  text: string;
  /** The version that answered, such as `v2`. */
  answeredBy: string | null;
  waking: WakingState | null;
  problem: Problem | null;
}

export interface Answer {
  model: ModelName;
  takes: Take[];
  /** Index of the take that is shown. */
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
  | { type: "asked"; turnId: string; prompt: string; takes: { model: ModelName; takeId: string }[] }
  | { type: "retried"; turnId: string; model: ModelName; takeId: string }
  | { type: "take-selected"; turnId: string; model: ModelName; shown: number }
  | { type: "loaded"; conversation: Conversation }
  | { type: "cleared" }
  | TakeEvent;

export type TakeEvent = { takeId: string } & TakeUpdate;

/** What can happen to a take while its answer is fetched. */
export type TakeUpdate =
  | { type: "waking"; stage: string; expectedSeconds: number | null; at: number }
  | { type: "text"; text: string; answeredBy: string | null }
  | { type: "finished"; reason: string | null }
  | { type: "stopped" }
  | { type: "failed"; problem: Problem };

/** Return the conversation after an event. */
export function conversationReducer(conversation: Conversation, event: ChatEvent): Conversation {
  switch (event.type) {
    case "cleared":
      return EMPTY;
    case "loaded":
      return event.conversation;
    case "asked":
      return { turns: [...conversation.turns, newTurn(event)] };
    case "retried":
      return inAnswer(conversation, event, (answer) => ({
        ...answer,
        takes: [...answer.takes, newTake(event.takeId)],
        shown: answer.takes.length,
      }));
    case "take-selected":
      return inAnswer(conversation, event, (answer) => ({
        ...answer,
        shown: Math.min(Math.max(event.shown, 0), answer.takes.length - 1),
      }));
    default:
      return inTake(conversation, event.takeId, (take) => takeAfter(take, event));
  }
}

function takeAfter(take: Take, update: TakeUpdate): Take {
  switch (update.type) {
    case "waking":
      return {
        ...take,
        state: "waking",
        waking: {
          stage: update.stage,
          since: take.waking?.since ?? update.at,
          readyAt: update.expectedSeconds === null ? null : update.at + update.expectedSeconds * 1000,
        },
      };
    case "text":
      return {
        ...take,
        state: "streaming",
        waking: null,
        text: take.text + update.text,
        answeredBy: update.answeredBy ?? take.answeredBy,
      };
    case "finished":
      return { ...take, state: update.reason === "length" ? "cut" : "done", waking: null };
    case "stopped":
      return { ...take, state: "stopped", waking: null };
    case "failed":
      return { ...take, state: "failed", waking: null, problem: update.problem };
  }
}

function newTurn(event: Extract<ChatEvent, { type: "asked" }>): Turn {
  const answers = event.takes.map(({ model, takeId }) => ({ model, takes: [newTake(takeId)], shown: 0 }));
  return { id: event.turnId, prompt: event.prompt, answers };
}

function newTake(id: string): Take {
  return { id, state: "asked", text: "", answeredBy: null, waking: null, problem: null };
}

function inAnswer(
  conversation: Conversation,
  { turnId, model }: { turnId: string; model: ModelName },
  change: (answer: Answer) => Answer,
): Conversation {
  const turns = conversation.turns.map((turn) =>
    turn.id !== turnId
      ? turn
      : {
          ...turn,
          answers: turn.answers.map((answer) => (answer.model === model ? change(answer) : answer)),
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

/** Return the take of an answer that is shown. */
export function shownTake(answer: Answer): Take {
  const take = answer.takes[answer.shown];
  if (take === undefined) throw new Error("The take that is shown is missing.");
  return take;
}

/** Tell whether more text may arrive for a take. */
export function isPending(take: Take): boolean {
  return take.state === "asked" || take.state === "waking" || take.state === "streaming";
}

/** Tell whether an answer is waiting for its model to wake. */
export function isWaking(conversation: Conversation): boolean {
  return conversation.turns.some((turn) =>
    turn.answers.some((answer) => shownTake(answer).state === "waking"),
  );
}

/** Tell whether any answer is still being written. */
export function isBusy(conversation: Conversation): boolean {
  return conversation.turns.some((turn) => turn.answers.some((answer) => answer.takes.some(isPending)));
}

/** The API's limit of messages in one chat. */
const MAX_MESSAGES = 200;

/**
 * Return the messages to send for the turn at `index`: its prompt, and as many turns before it as fit.
 *
 * Each model gets its own earlier answers, or the other model's if it has none.
 *
 * @param limit how many characters the messages may have together; the oldest turns are left out first.
 */
export function messagesFor(
  turns: readonly Turn[],
  index: number,
  model: ModelName,
  limit: number,
): ChatRequest["messages"] {
  const turn = turns[index];
  if (turn === undefined) throw new Error(`There is no turn ${index}.`);
  let messages: ChatRequest["messages"] = [{ role: "user", content: turn.prompt }];
  let characters = turn.prompt.length;
  for (const earlier of turns.slice(0, index).reverse()) {
    const answer = answerOf(earlier, model);
    if (answer === "") continue; // a prompt without an answer would only confuse the model
    characters += earlier.prompt.length + answer.length;
    if (characters > limit || messages.length + 2 > MAX_MESSAGES) break;
    messages = [{ role: "user", content: earlier.prompt }, { role: "assistant", content: answer }, ...messages];
  }
  return messages;
}

function answerOf(turn: Turn, model: ModelName): string {
  const own = turn.answers.find((answer) => answer.model === model);
  const texts = [own, ...turn.answers].map((answer) => (answer === undefined ? "" : shownTake(answer).text));
  return texts.find((text) => text !== "") ?? "";
}
