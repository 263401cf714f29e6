import { useCallback, useEffect, useReducer, useRef } from "preact/hooks";
import type { Api } from "../../api/client";
import { fetchAnswer } from "./answering";
import {
  type Conversation,
  conversationReducer,
  EMPTY,
  isBusy,
  isPending,
  messagesFor,
  type ModelName,
  type Take,
} from "./conversation";

/** How often a growing conversation is saved, in milliseconds. */
const SAVE_INTERVAL_MS = 400;

const DEFAULT_ANSWER_TOKENS = 512;
const CHARACTERS_PER_TOKEN = 3;

export interface RequestLimits {
  /** Characters of one prompt and the conversation before it. */
  promptCharacters: number;
  /** Tokens of one answer. */
  answerTokens: number;
}

/** The conversation and what can be done with it. */
export interface ChatSession {
  conversation: Conversation;
  isBusy: boolean;
  /** Send a prompt to the given models. */
  ask(prompt: string, models: ModelName[], limits: RequestLimits): void;
  /** Ask one model again. Its earlier takes stay. */
  retry(turnId: string, model: ModelName, limits: RequestLimits): void;
  selectTake(turnId: string, model: ModelName, shown: number): void;
  /** Stop all answers that are being written. Their text stays. */
  stop(): void;
  /** Delete the conversation. */
  clear(): void;
}

/** Hold the conversation of `owner`. It is saved on this device, and answers are written while other views are open. */
export function useConversation(api: Api, owner: string): ChatSession {
  const [conversation, dispatch] = useReducer(conversationReducer, owner, loadConversation);
  const latest = useRef(conversation);
  latest.current = conversation;
  const controllers = useRef(new Set<AbortController>());

  const fetchTake = useCallback(
    async (turns: Conversation["turns"], index: number, model: ModelName, takeId: string, limits: RequestLimits) => {
      const controller = new AbortController();
      controllers.current.add(controller);
      const messages = messagesFor(turns, index, model, characterLimit(limits));
      const request = { model, messages, max_tokens: limits.answerTokens };
      await fetchAnswer(api, { id: takeId, request }, controller.signal, (update) => dispatch({ ...update, takeId }));
      controllers.current.delete(controller);
    },
    [api],
  );

  const stop = useCallback(() => {
    for (const controller of controllers.current) controller.abort();
  }, []);

  useEffect(() => {
    // When the tab closes, reloads or leaves for another page: the API does not notice by itself.
    window.addEventListener("pagehide", stop);
    return () => {
      window.removeEventListener("pagehide", stop);
      stop(); // signed out
    };
  }, [stop]);

  const replace = useCallback((loaded: Conversation) => dispatch({ type: "loaded", conversation: loaded }), []);
  useStorage(owner, conversation, replace);

  return {
    conversation,
    isBusy: isBusy(conversation),
    stop,
    ask(prompt, models, limits) {
      const takes = models.map((model) => ({ model, takeId: crypto.randomUUID() }));
      const event = { type: "asked", turnId: crypto.randomUUID(), prompt, takes } as const;
      dispatch(event);
      const { turns } = conversationReducer(latest.current, event);
      for (const { model, takeId } of takes) void fetchTake(turns, turns.length - 1, model, takeId, limits);
    },
    retry(turnId, model, limits) {
      const takeId = crypto.randomUUID();
      dispatch({ type: "retried", turnId, model, takeId });
      const { turns } = latest.current;
      const index = turns.findIndex((turn) => turn.id === turnId);
      void fetchTake(turns, index, model, takeId, limits);
    },
    selectTake(turnId, model, shown) {
      dispatch({ type: "take-selected", turnId, model, shown });
    },
    clear() {
      stop();
      dispatch({ type: "cleared" });
    },
  };
}

/** Return how many characters to send. The API's limit is for a default answer; a longer one leaves less room. */
function characterLimit({ promptCharacters, answerTokens }: RequestLimits): number {
  const extraTokens = Math.max(0, answerTokens - DEFAULT_ANSWER_TOKENS);
  return promptCharacters - extraTokens * CHARACTERS_PER_TOKEN;
}

/** Save the conversation as it changes, and take over what another tab of the same person saves. */
function useStorage(owner: string, conversation: Conversation, replace: (loaded: Conversation) => void): void {
  const latest = useRef(conversation);
  latest.current = conversation;
  // An idle tab must not overwrite what another tab has saved since.
  const saved = useRef(conversation);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);

  useEffect(() => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      save();
    }, SAVE_INTERVAL_MS);
  }, [owner, conversation]);

  useEffect(() => {
    const onStorage = ({ key, newValue }: StorageEvent) => {
      if (key !== storageKey(owner)) return;
      if (newValue !== null && isBusy(latest.current)) return;
      saved.current = loadConversation(owner);
      replace(saved.current);
    };
    window.addEventListener("storage", onStorage);
    window.addEventListener("pagehide", save);
    return () => {
      window.removeEventListener("storage", onStorage);
      window.removeEventListener("pagehide", save);
      if (timer.current !== null) clearTimeout(timer.current);
      save();
    };
  }, [owner, replace]);

  function save(): void {
    if (latest.current === saved.current) return;
    saved.current = latest.current;
    saveConversation(owner, latest.current);
  }
}

function storageKey(owner: string): string {
  return `storyloom.conversation:${owner}`;
}

/** Save the conversation of `owner` on this device. */
export function saveConversation(owner: string, conversation: Conversation): void {
  try {
    localStorage.setItem(storageKey(owner), JSON.stringify(conversation));
  } catch {
    // The browser's few megabytes are full: the conversation continues, but its newest part will not be saved.
  }
}

/** Load the conversation of `owner`. An answer that was being written counts as stopped. */
export function loadConversation(owner: string): Conversation {
  const text = localStorage.getItem(storageKey(owner));
  if (text === null) return EMPTY;
  try {
    const { turns } = JSON.parse(text) as Conversation;
    return {
      turns: turns.map((turn) => ({
        ...turn,
        answers: turn.answers.map((answer) => ({ ...answer, takes: answer.takes.map(withoutPending) })),
      })),
    };
  } catch {
    return EMPTY; // another version of the page wrote it
  }
}

/** Delete the conversation of `owner` from this device. */
export function deleteConversation(owner: string): void {
  localStorage.removeItem(storageKey(owner));
}

function withoutPending(take: Take): Take {
  return isPending(take) ? { ...take, state: "stopped", waking: null } : take;
}
