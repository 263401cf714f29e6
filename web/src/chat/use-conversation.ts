import { useCallback, useEffect, useReducer, useRef } from "preact/hooks";
import type { Api } from "../api";
import { answer } from "./answering";
import { type Conversation, busy, conversationAfter, messagesFor, type Voice } from "./state";
import { keepConversation, keptConversation } from "./storage";

/** How often a growing answer is written to the tab's storage, in milliseconds. */
const KEEP_EVERY_MS = 400;

const USUAL_ANSWER_TOKENS = 512;
const CHARACTERS_A_TOKEN = 3;

/** What bounds a request. */
export interface Limits {
  /** Characters of one prompt with the conversation before it. */
  promptCharacters: number;
  /** Tokens of one answer. */
  answerTokens: number;
}

export interface Talk {
  conversation: Conversation;
  busy: boolean;
  /** Ask the given models. */
  ask(prompt: string, voices: Voice[], limits: Limits): void;
  /** Ask one model the same thing again, keeping its answer so far. */
  askAgain(turnId: string, voice: Voice, limits: Limits): void;
  chooseTake(turnId: string, voice: Voice, shown: number): void;
  /** Stop all answers under way; their words stay. */
  stop(): void;
  clear(): void;
}

/** The conversation of the person `owner`, kept in the tab's storage and going on while other views are open. */
export function useConversation(api: Api, owner: string): Talk {
  const [conversation, dispatch] = useReducer(conversationAfter, owner, keptConversation);
  const latest = useRef(conversation);
  latest.current = conversation;
  const stops = useRef(new Set<AbortController>());
  useKeeping(owner, conversation);

  const fetchAnswer = useCallback(
    async (turns: Conversation["turns"], index: number, voice: Voice, takeId: string, limits: Limits) => {
      const stop = new AbortController();
      stops.current.add(stop);
      const messages = messagesFor(turns, index, voice, roomForConversation(limits));
      const request = { model: voice, messages, max_tokens: limits.answerTokens };
      await answer(api, { id: takeId, request }, stop.signal, (news) => dispatch({ ...news, takeId }));
      stops.current.delete(stop);
    },
    [api],
  );

  const stop = useCallback(() => {
    for (const controller of stops.current) controller.abort();
  }, []);

  useEffect(() => {
    // A closed or reloaded tab, and a way to another page. Nobody else would tell the API.
    window.addEventListener("pagehide", stop);
    return () => {
      window.removeEventListener("pagehide", stop);
      stop(); // signed out
    };
  }, [stop]);

  return {
    conversation,
    busy: busy(conversation),
    stop,
    ask(prompt, voices, limits) {
      const takes = voices.map((voice) => ({ voice, takeId: crypto.randomUUID() }));
      const event = { type: "asked", turnId: crypto.randomUUID(), prompt, takes } as const;
      dispatch(event);
      const { turns } = conversationAfter(latest.current, event);
      for (const { voice, takeId } of takes) void fetchAnswer(turns, turns.length - 1, voice, takeId, limits);
    },
    askAgain(turnId, voice, limits) {
      const takeId = crypto.randomUUID();
      dispatch({ type: "asked-again", turnId, voice, takeId });
      const { turns } = latest.current;
      const index = turns.findIndex((turn) => turn.id === turnId);
      void fetchAnswer(turns, index, voice, takeId, limits);
    },
    chooseTake(turnId, voice, shown) {
      dispatch({ type: "take-chosen", turnId, voice, shown });
    },
    clear() {
      stop();
      dispatch({ type: "cleared" });
    },
  };
}

/** The limit of the API leaves room for a usual answer; a longer one takes its room from what came before. */
function roomForConversation({ promptCharacters, answerTokens }: Limits): number {
  const beyondUsual = Math.max(0, answerTokens - USUAL_ANSWER_TOKENS);
  return promptCharacters - beyondUsual * CHARACTERS_A_TOKEN;
}

function useKeeping(owner: string, conversation: Conversation): void {
  const latest = useRef(conversation);
  latest.current = conversation;
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  useEffect(() => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      keepConversation(owner, latest.current);
    }, KEEP_EVERY_MS);
  }, [owner, conversation]);
  useEffect(() => {
    const keepNow = () => keepConversation(owner, latest.current);
    window.addEventListener("pagehide", keepNow);
    return () => {
      window.removeEventListener("pagehide", keepNow);
      if (timer.current !== null) clearTimeout(timer.current);
      keepNow();
    };
  }, [owner]);
}
