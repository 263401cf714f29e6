/** Fetching one answer: wait while the model wakes, then read the stream. */
import { EventSourceParserStream } from "eventsource-parser/stream";
import { type Api, ApiError, problemOf } from "../../api/client";
import type { ChatRequest } from "../../api/contract";
import { SignInExpired } from "../../api/session";
import type { TakeUpdate } from "./conversation";

/** Give up on a model that has not woken after this long: a GPU host needs minutes, not hours. */
const MAX_WAKING_MS = 30 * 60_000;

/** Seconds between two requests: what the API asks for within these bounds, or the default. */
const RETRY_SECONDS = { default: 5, min: 1, max: 30 };

/** A model in these stages will answer. With any other 503 only a few more requests are sent. */
const WAKING_STAGES = ["asleep", "waking"];
const MAX_OTHER_RETRIES = 3;

/** The time, which tests replace so that they need not wait. */
export interface Clock {
  now(): number;
  /** Wait. Throws the reason of `signal` if that fires first. */
  wait(seconds: number, signal: AbortSignal): Promise<void>;
}

export interface AnswerRequest {
  /** The id under which the API can cancel the answer. */
  id: string;
  request: ChatRequest;
}

/**
 * Fetch one answer and report each update, waiting while the model wakes.
 *
 * Never throws: an error becomes the update `failed`, an abort by `signal` the update `stopped`. An answer that is
 * not read to its end is cancelled through the API, because closing the connection does not end it.
 */
export async function fetchAnswer(
  api: Pick<Api, "chat" | "cancelAnswer">,
  { id, request }: AnswerRequest,
  signal: AbortSignal,
  onUpdate: (update: TakeUpdate) => void,
  clock: Clock = realClock,
): Promise<void> {
  const cancel = () => api.cancelAnswer(id);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const response = await requestUntilAwake(() => api.chat(request, id, signal), signal, onUpdate, clock);
    await report(response, onUpdate);
  } catch (error) {
    if (signal.aborted) onUpdate({ type: "stopped" });
    else {
      // A lost connection does not end the answer either. And a browser that leaves the page may break connections off
      // before `pagehide`.
      if (!wasRefused(error)) cancel();
      onUpdate({ type: "failed", problem: problemOf(error) });
    }
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

/** Tell whether the API refused, so that there is no answer to cancel. */
function wasRefused(error: unknown): boolean {
  return error instanceof ApiError || error instanceof SignInExpired;
}

async function requestUntilAwake(
  send: () => Promise<Response>,
  signal: AbortSignal,
  onUpdate: (update: TakeUpdate) => void,
  clock: Clock,
): Promise<Response> {
  const started = clock.now();
  let otherRetries = 0;
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 503) throw error;
      if (error.waking !== null && WAKING_STAGES.includes(error.waking.stage)) {
        onUpdate({ type: "waking", ...error.waking, at: clock.now() });
      } else {
        otherRetries += 1;
      }
      if (otherRetries > MAX_OTHER_RETRIES || clock.now() - started > MAX_WAKING_MS) throw error;
      await clock.wait(retrySeconds(error.retryAfter), signal);
    }
  }
}

function retrySeconds(wanted: number | null): number {
  return Math.min(Math.max(wanted ?? RETRY_SECONDS.default, RETRY_SECONDS.min), RETRY_SECONDS.max);
}

async function report(response: Response, onUpdate: (update: TakeUpdate) => void): Promise<void> {
  if (response.body === null) throw new Error("The server sent an empty answer.");
  let reason: string | null = null;
  for await (const chunk of readStream(response.body)) {
    if (chunk.text !== "") onUpdate({ type: "text", text: chunk.text, answeredBy: chunk.model });
    reason = chunk.finishReason ?? reason;
  }
  onUpdate({ type: "finished", reason });
}

const realClock: Clock = {
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

/** One chunk of an answer's stream. */
export interface AnswerChunk {
  text: string;
  /** The model that answers, such as `v2`. */
  model: string | null;
  /** Why the answer ended (`stop`, `length`), in its last chunk; null before. */
  finishReason: string | null;
}

/** The stream ended before the answer did. What came before stays valid. */
export class StreamInterrupted extends Error {
  constructor(message = "The answer broke off before its end.") {
    super(message);
    this.name = "StreamInterrupted";
  }
}

/**
 * Read an OpenAI chat completion stream chunk by chunk, wherever the network cut its bytes.
 *
 * @throws StreamInterrupted if the server reports an error within the stream, or closes it without an end.
 */
export async function* readStream(body: ReadableStream<Uint8Array>): AsyncGenerator<AnswerChunk, void> {
  const events = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  let hasEnded = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (value.data === "[DONE]") return;
      const chunk = parseChunk(value.data);
      if (chunk.finishReason !== null) hasEnded = true;
      yield chunk;
    }
  } finally {
    // Also if the consumer stops early: the connection must not stay open.
    await reader.cancel().catch(() => undefined);
  }
  if (!hasEnded) throw new StreamInterrupted();
}

interface CompletionChunk {
  model?: string;
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  error?: { message?: string };
}

function parseChunk(data: string): AnswerChunk {
  let chunk: CompletionChunk;
  try {
    chunk = JSON.parse(data) as CompletionChunk;
  } catch {
    throw new StreamInterrupted("The answer could not be read: the server sent something that is not JSON.");
  }
  if (chunk.error !== undefined) throw new StreamInterrupted(chunk.error.message);
  const choice = chunk.choices?.[0];
  return {
    text: choice?.delta?.content ?? "",
    model: chunk.model ?? null,
    finishReason: choice?.finish_reason ?? null,
  };
}
