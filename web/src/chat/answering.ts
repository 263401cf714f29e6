import { type Api, ApiError, problemOf } from "../api";
import type { ChatRequest } from "../contract";
import { SignInExpired } from "../session";
import { readAnswer } from "../stream";
import type { TakeNews } from "./state";

/** Give up on a model that has not woken after this long: GPU hosts need minutes, not hours. */
const WAKING_LIMIT_MS = 30 * 60_000;

/** How long to wait between two tries when the API does not say, and the bounds when it does, in seconds. */
const RETRY = { usual: 5, least: 1, most: 30 };

/** A model that is on its way will answer; anything else that says 503 is asked this many more times. */
const ON_ITS_WAY = ["asleep", "waking"];
const OTHER_TRIES = 3;

/** The clock, so that tests need not wait. */
export interface Pace {
  now(): number;
  /** Wait, unless `signal` fires first: then throw its reason. */
  wait(seconds: number, signal: AbortSignal): Promise<void>;
}

/** An answer that is asked for: the request, and the id by which the API knows the answer. */
export interface Question {
  id: string;
  request: ChatRequest;
}

/**
 * Fetch one answer and tell each thing that happens to it, waiting while the model wakes.
 *
 * Never throws: an error becomes the news `broke`, a stop by `signal` the news `stopped`. An answer that is
 * not read to its end is cancelled at the API, which would not hear of it.
 */
export async function answer(
  api: Pick<Api, "chat" | "cancelAnswer">,
  question: Question,
  signal: AbortSignal,
  tell: (news: TakeNews) => void,
  pace: Pace = realPace,
): Promise<void> {
  const cancel = () => api.cancelAnswer(question.id);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const response = await askUntilAwake(api, question, signal, tell, pace);
    await passOn(response, tell);
  } catch (error) {
    if (signal.aborted) tell({ type: "stopped" });
    else {
      // A lost connection does not end the answer, either. Nor does a browser that leaves the page wait for
      // `pagehide` before it breaks connections off.
      if (!wasRefused(error)) cancel();
      tell({ type: "broke", problem: problemOf(error) });
    }
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

/** Whether no answer was begun at all. */
function wasRefused(error: unknown): boolean {
  return error instanceof ApiError || error instanceof SignInExpired;
}

async function askUntilAwake(
  api: Pick<Api, "chat">,
  { id, request }: Question,
  signal: AbortSignal,
  tell: (news: TakeNews) => void,
  pace: Pace,
): Promise<Response> {
  const started = pace.now();
  let otherTries = 0;
  for (;;) {
    try {
      return await api.chat(request, id, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 503) throw error;
      if (error.waking !== null && ON_ITS_WAY.includes(error.waking.stage)) {
        tell({ type: "waking", ...error.waking, at: pace.now() });
      } else {
        otherTries += 1;
      }
      if (otherTries > OTHER_TRIES || pace.now() - started > WAKING_LIMIT_MS) throw error;
      await pace.wait(clamped(error.retryAfter ?? RETRY.usual), signal);
    }
  }
}

async function passOn(response: Response, tell: (news: TakeNews) => void): Promise<void> {
  if (response.body === null) throw new Error("The server sent an empty answer.");
  let finish: string | null = null;
  for await (const piece of readAnswer(response.body)) {
    if (piece.text !== "") tell({ type: "words", text: piece.text, model: piece.model });
    finish = piece.finish ?? finish;
  }
  tell({ type: "finished", reason: finish });
}

function clamped(seconds: number): number {
  return Math.min(Math.max(seconds, RETRY.least), RETRY.most);
}

const realPace: Pace = {
  now: Date.now,
  wait: (seconds, signal) =>
    new Promise((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(() => {
        signal.removeEventListener("abort", stop);
        resolve();
      }, seconds * 1000);
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    }),
};
