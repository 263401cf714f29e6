import { describe, expect, it } from "vitest";
import { ApiError } from "../src/api";
import { answer, type Pace } from "../src/chat/answering";
import type { TakeNews } from "../src/chat/state";
import { encode, event, streamOf } from "./bytes";

const REQUEST = { model: "storyloom", messages: [{ role: "user" as const, content: "Begin." }] };
const QUESTION = { id: "11111111-2222-4333-8444-555555555555", request: REQUEST };

/** A clock that moves only by being waited on. */
function fastPace(): Pace & { waits: number[] } {
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

const spoken = () => new Response(streamOf(encode(event("Hello") + event("", "stop") + "data: [DONE]\n\n")));

function waking(stage: string, retryAfter: number | null = 10): ApiError {
  return new ApiError(503, `model_${stage}`, "Not yet.", "Wait.", retryAfter, {
    stage,
    expectedSeconds: 120,
  });
}

/** An API that gives these answers one after another, the last one for ever. */
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

async function news(api: ReturnType<typeof apiWith>, pace: Pace, signal = new AbortController().signal) {
  const told: TakeNews[] = [];
  await answer(api, QUESTION, signal, (item) => told.push(item), pace);
  return told;
}

describe("answer", () => {
  it("tells the words and the end", async () => {
    expect(await news(apiWith(spoken()), fastPace())).toEqual([
      { type: "words", text: "Hello", model: "v2" },
      { type: "finished", reason: "stop" },
    ]);
  });

  it("waits for a waking model as long as the API says, then answers", async () => {
    const pace = fastPace();
    const told = await news(apiWith(waking("asleep"), waking("waking", 30), spoken()), pace);
    expect(told.map((item) => item.type)).toEqual(["waking", "waking", "words", "finished"]);
    expect(told[0]).toMatchObject({ stage: "asleep", expectedSeconds: 120 });
    expect(pace.waits).toEqual([10, 30]);
  });

  it("keeps a hasty or sleepy Retry-After within bounds", async () => {
    const pace = fastPace();
    await news(apiWith(waking("waking", 0), waking("waking", 900), waking("waking", null), spoken()), pace);
    expect(pace.waits).toEqual([1, 30, 5]);
  });

  it("gives up on a model that never wakes", async () => {
    const pace = fastPace();
    const told = await news(apiWith(waking("waking", 30)), pace);
    expect(told.at(-1)).toEqual({ type: "broke", problem: { message: "Not yet.", cure: "Wait." } });
    expect(pace.waits.length).toBe(61); // half an hour of 30 s, and the one that went over
  });

  it.each([waking("failing"), new ApiError(503, "busy", "Busy.", null)])(
    "asks a host that is not on its way a few times only: %s",
    async (error) => {
      const api = apiWith(error);
      const told = await news(api, fastPace());
      expect(api.asked).toBe(4);
      expect(told.map((item) => item.type)).toEqual(["broke"]);
    },
  );

  it("does not repeat what cannot succeed", async () => {
    const api = apiWith(new ApiError(413, "prompt_too_long", "Too long.", "Shorten it."));
    expect(await news(api, fastPace())).toEqual([
      { type: "broke", problem: { message: "Too long.", cure: "Shorten it." } },
    ]);
    expect(api.asked).toBe(1);
  });

  it("stops while the model wakes", async () => {
    const stop = new AbortController();
    const pace = { ...fastPace(), wait: async () => stop.abort() };
    const cancelled: string[] = [];
    const api = {
      cancelAnswer: (answerId: string) => void cancelled.push(answerId),
      chat: async (_: object, _id: string, signal: AbortSignal) => (
        signal.throwIfAborted(),
        Promise.reject(waking("waking"))
      ),
    };
    const told: TakeNews[] = [];
    await answer(api, QUESTION, stop.signal, (item) => told.push(item), pace);
    expect(told.map((item) => item.type)).toEqual(["waking", "stopped"]);
    expect(cancelled).toEqual([QUESTION.id]);
  });

  it("cancels at the API when it is stopped, at once, and keeps the words", async () => {
    const stop = new AbortController();
    const api = apiWith(spoken());
    const told: TakeNews[] = [];
    await answer(
      api,
      QUESTION,
      stop.signal,
      (item) => {
        told.push(item);
        stop.abort();
        expect(api.cancelled).toEqual([QUESTION.id]);
      },
      fastPace(),
    );
    expect(told[0]).toEqual({ type: "words", text: "Hello", model: "v2" });
  });

  it("cancels an answer whose connection breaks, and none that was refused", async () => {
    const cut = apiWith(new Response(streamOf(encode(event("Hello")))));
    expect((await news(cut, fastPace())).map((item) => item.type)).toEqual(["words", "broke"]);
    expect(cut.cancelled).toEqual([QUESTION.id]);
    const refused = apiWith(new ApiError(413, "prompt_too_long", "Too long.", "Shorten it."));
    await news(refused, fastPace());
    expect(refused.cancelled).toEqual([]);
  });

  it("cancels nothing that has ended", async () => {
    const stop = new AbortController();
    const api = apiWith(spoken());
    await answer(api, QUESTION, stop.signal, () => undefined, fastPace());
    stop.abort();
    expect(api.cancelled).toEqual([]);
  });
});
