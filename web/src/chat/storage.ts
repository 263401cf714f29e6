import { type Conversation, EMPTY, type Take, underWay } from "./state";

const KEY = "storyloom.conversation";

interface Kept {
  /** Whose conversation it is: nobody else who signs in on this tab gets to see it. */
  owner: string;
  conversation: Conversation;
}

/** Keep the conversation for reloads of this tab. */
export function keepConversation(owner: string, conversation: Conversation, storage = sessionStorage): void {
  try {
    storage.setItem(KEY, JSON.stringify({ owner, conversation } satisfies Kept));
  } catch {
    // The browser's few megabytes are full. The conversation goes on; only a reload would lose its newest part.
  }
}

/** The conversation this tab kept for `owner`; answers that a reload cut short count as stopped. */
export function keptConversation(owner: string, storage = sessionStorage): Conversation {
  const kept = parse(storage.getItem(KEY));
  if (kept?.owner !== owner) return EMPTY;
  const turns = kept.conversation.turns.map((turn) => ({
    ...turn,
    answers: turn.answers.map((answer) => ({ ...answer, takes: answer.takes.map(settled) })),
  }));
  return { turns };
}

/** Forget the conversation, when its owner signs out. */
export function forgetConversation(storage = sessionStorage): void {
  storage.removeItem(KEY);
}

function settled(take: Take): Take {
  return underWay(take) ? { ...take, state: "stopped", waking: null } : take;
}

function parse(text: string | null): Kept | null {
  if (text === null) return null;
  try {
    const kept = JSON.parse(text) as Kept;
    return Array.isArray(kept.conversation.turns) ? kept : null;
  } catch {
    return null; // written by another version of the page
  }
}
