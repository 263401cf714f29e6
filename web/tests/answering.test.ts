import { describe, expect, it } from "vitest";
import { ApiError } from "../src/api/client";
import { type Clock, fetchAnswer } from "../src/views/chat/answering";
import type { TakeUpdate } from "../src/views/chat/conversation";
import { encode, event, streamOf } from "./bytes";

const REQUEST = { model: "storyloom", messages: [{ role: "user" as const, content: "Begin." }] };
const REQUESTED = { id: "11111111-2222-4333-8444-555555555555", request: REQUEST };

/** Return a clock that moves only when something waits for it. */
function fastClock(): Clock & { waits: number[] } {
  let now = 1_000;
  const waits: number[] = [];
  return {
    waits,
    now: () => now,
    wait: async (seconds, signal) => {
      signal.throwIfAborted();
      waits.push(seconds);
      now += seconds * 1000;
    },
  };
}

const completed = () => new Response(streamOf(encode(event("Hello") + event("", "stop") + "data: [DONE]\n\n")));

function waking(stage: string, retryAfter: number | null = 10): ApiError {
  return new ApiError(503, `model_${stage}`, "Not yet.", "Wait.", retryAfter, {
    stage,
    expectedSeconds: 120,
  });
}

/** Return an API that gives these answers one after another, and the last one from then on. */
function apiWith(...answers: (ApiError | Response)[]) {
  let asked = 0;
  const cancelled: string[] = [];
  return {
    get asked() {
      return asked;
    },
    cancelled,
    cancelAnswer: (answerId: string) => void cancelled.push(answerId),
    chat: async (): Promise<Response> => {
      const next = answers[Math.min(asked, answers.length - 1)];
      asked += 1;
      if (next instanceof Response) return next;
      throw next;
    },
  };
}

async function updatesOf(api: ReturnType<typeof apiWith>, clock: Clock, signal = new AbortController().signal) {
  const updates: TakeUpdate[] = [];
  await fetchAnswer(api, REQUESTED, signal, (update) => updates.push(update), clock);
  return updates;
}

describe("fetchAnswer", () => {
  it("reports the text and the end", async () => {
    expect(await updatesOf(apiWith(completed()), fastClock())).toEqual([
      { type: "text", text: "Hello", answeredBy: "v2" },
      { type: "finished", reason: "stop" },
    ]);
  });

  it("waits for a waking model as long as the API says, then answers", async () => {
    const clock = fastClock();
    const updates = await updatesOf(apiWith(waking("asleep"), waking("waking", 30), completed()), clock);
    expect(updates.map((update) => update.type)).toEqual(["waking", "waking", "text", "finished"]);
    expect(updates[0]).toMatchObject({ stage: "asleep", expectedSeconds: 120 });
    expect(clock.waits).toEqual([10, 30]);
  });

  it("keeps a Retry-After that is too short or too long within bounds", async () => {
    const clock = fastClock();
    await updatesOf(apiWith(waking("waking", 0), waking("waking", 900), waking("waking", null), completed()), clock);
    expect(clock.waits).toEqual([1, 30, 5]);
  });

  it("gives up on a model that never wakes", async () => {
    const clock = fastClock();
    const updates = await updatesOf(apiWith(waking("waking", 30)), clock);
    expect(updates.at(-1)).toEqual({ type: "failed", problem: { message: "Not yet.", cure: "Wait." } });
    expect(clock.waits.length).toBe(61); // half an hour of 30 s, and the one that exceeded it
  });

  it.each([waking("failing"), new ApiError(503, "busy", "Busy.", null)])(
    "retries only a few times if the model is not waking: %s",
    async (error) => {
      const api = apiWith(error);
      const updates = await updatesOf(api, fastClock());
      expect(api.asked).toBe(4);
      expect(updates.map((update) => update.type)).toEqual(["failed"]);
    },
  );

  it("does not retry what cannot succeed", async () => {
    const api = apiWith(new ApiError(413, "prompt_too_long", "Too long.", "Shorten it."));
    expect(await updatesOf(api, fastClock())).toEqual([
      { type: "failed", problem: { message: "Too long.", cure: "Shorten it." } },
    ]);
    expect(api.asked).toBe(1);
  });

  it("stops while the model wakes", async () => {
    const stop = new AbortController();
    const clock = { ...fastClock(), wait: async () => stop.abort() };
    const cancelled: string[] = [];
    const api = {
      cancelAnswer: (answerId: string) => void cancelled.push(answerId),
      chat: async (_: object, _id: string, signal: AbortSignal) => (
        signal.throwIfAborted(),
        Promise.reject(waking("waking"))
      ),
    };
    const updates: TakeUpdate[] = [];
    await fetchAnswer(api, REQUESTED, stop.signal, (update) => updates.push(update), clock);
    expect(updates.map((update) => update.type)).toEqual(["waking", "stopped"]);
    expect(cancelled).toEqual([REQUESTED.id]);
  });

  it("cancels through the API at once when it is stopped, and keeps the text", async () => {
    const stop = new AbortController();
    const api = apiWith(completed());
    const updates: TakeUpdate[] = [];
    await fetchAnswer(
      api,
      REQUESTED,
      stop.signal,
      (update) => {
        updates.push(update);
        stop.abort();
        expect(api.cancelled).toEqual([REQUESTED.id]);
      },
      fastClock(),
    );
    expect(updates[0]).toEqual({ type: "text", text: "Hello", answeredBy: "v2" });
  });

  it("cancels an answer whose connection breaks, and none that was refused", async () => {
    const cut = apiWith(new Response(streamOf(encode(event("Hello")))));
    expect((await updatesOf(cut, fastClock())).map((update) => update.type)).toEqual(["text", "failed"]);
    expect(cut.cancelled).toEqual([REQUESTED.id]);
    const refused = apiWith(new ApiError(413, "prompt_too_long", "Too long.", "Shorten it."));
    await updatesOf(refused, fastClock());
    expect(refused.cancelled).toEqual([]);
  });

  it("cancels nothing that has ended", async () => {
    const stop = new AbortController();
    const api = apiWith(completed());
    await fetchAnswer(api, REQUESTED, stop.signal, () => undefined, fastClock());
    stop.abort();
    expect(api.cancelled).toEqual([]);
  });
});
