// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import {
  busy,
  type ChatEvent,
  type Conversation,
  conversationAfter,
  EMPTY,
  messagesFor,
  shownTake,
  type Turn,
} from "../src/chat/state";
import { forgetConversation, keepConversation, keptConversation } from "../src/chat/storage";
import { completeSentences, paragraphs } from "../src/chat/text";

const after = (...events: ChatEvent[]): Conversation => events.reduce(conversationAfter, EMPTY);

const asked: ChatEvent = {
  type: "asked",
  turnId: "t1",
  prompt: "Begin.",
  takes: [
    { voice: "storyloom", takeId: "s1" },
    { voice: "base", takeId: "b1" },
  ],
};
const words = (takeId: string, text: string): ChatEvent => ({ type: "words", takeId, text, model: "v2" });
const finished = (takeId: string, reason = "stop"): ChatEvent => ({ type: "finished", takeId, reason });

const take = (conversation: Conversation, answer = 0) => {
  const found = conversation.turns[0]?.answers[answer];
  if (found === undefined) throw new Error("no such answer");
  return shownTake(found);
};

describe("conversationAfter", () => {
  it("gathers the words of each answer by itself", () => {
    const talk = after(
      asked,
      words("s1", "The "),
      words("b1", "Once "),
      words("s1", "tide."),
      finished("s1"),
    );
    expect(take(talk, 0)).toMatchObject({ text: "The tide.", state: "done", model: "v2" });
    expect(take(talk, 1)).toMatchObject({ text: "Once ", state: "streaming" });
    expect(busy(talk)).toBe(true);
    expect(busy(conversationAfter(talk, finished("b1", "length")))).toBe(false);
    expect(take(conversationAfter(talk, finished("b1", "length")), 1).state).toBe("cut");
  });

  it("keeps what was said when stopped or broken off", () => {
    const problem = { message: "Broke.", cure: null };
    const talk = after(asked, words("s1", "Half"), { type: "stopped", takeId: "s1" }, words("b1", "Part"), {
      type: "broke",
      takeId: "b1",
      problem,
    });
    expect(take(talk, 0)).toMatchObject({ text: "Half", state: "stopped" });
    expect(take(talk, 1)).toMatchObject({ text: "Part", state: "broken", problem });
  });

  it("keeps earlier takes when asked again, and shows the one chosen", () => {
    const talk = after(
      asked,
      words("s1", "First"),
      finished("s1"),
      {
        type: "asked-again",
        turnId: "t1",
        voice: "storyloom",
        takeId: "s2",
      },
      words("s2", "Second"),
    );
    expect(take(talk).text).toBe("Second");
    const back = conversationAfter(talk, { type: "take-chosen", turnId: "t1", voice: "storyloom", shown: 0 });
    expect(take(back).text).toBe("First");
    const beyond = conversationAfter(back, {
      type: "take-chosen",
      turnId: "t1",
      voice: "storyloom",
      shown: 9,
    });
    expect(take(beyond).text).toBe("Second");
  });

  it("counts the waking from its first sight, to the newest guess", () => {
    const waking = (at: number, expectedSeconds: number): ChatEvent => ({
      type: "waking",
      takeId: "s1",
      stage: "waking",
      expectedSeconds,
      at,
    });
    const talk = after(asked, waking(1_000, 60), waking(11_000, 40));
    expect(take(talk).waking).toEqual({ stage: "waking", since: 1_000, readyAt: 51_000 });
    expect(take(conversationAfter(talk, words("s1", "Up"))).waking).toBeNull();
  });

  it("leaves untouched turns as they are, so that they are not drawn again", () => {
    const one = after(asked, finished("s1"), finished("b1"));
    const two = conversationAfter(one, {
      ...asked,
      turnId: "t2",
      takes: [{ voice: "storyloom", takeId: "s9" }],
    });
    expect(conversationAfter(two, words("s9", "x")).turns[0]).toBe(two.turns[0]);
  });
});

describe("messagesFor", () => {
  const second: ChatEvent = {
    ...asked,
    turnId: "t2",
    prompt: "And then?",
    takes: [{ voice: "base", takeId: "b2" }],
  };
  const { turns } = after(asked, words("s1", "The tide."), words("b1", "Once."), second);

  it("shows each model its own answers", () => {
    expect(messagesFor(turns, 1, "base", 1000).map((m) => m.content)).toEqual([
      "Begin.",
      "Once.",
      "And then?",
    ]);
    expect(messagesFor(turns, 1, "storyloom", 1000)[1]).toEqual({ role: "assistant", content: "The tide." });
  });

  it("leaves out the oldest turns beyond the limit, never the prompt", () => {
    const all = "Begin.Once.And then?".length;
    expect(messagesFor(turns, 1, "base", all)).toHaveLength(3);
    expect(messagesFor(turns, 1, "base", all - 1)).toEqual([{ role: "user", content: "And then?" }]);
    expect(messagesFor(turns, 1, "base", 0)).toHaveLength(1);
  });

  it("leaves out the oldest turns beyond the messages that the API takes", () => {
    const [answered, prompt] = turns as [Turn, Turn];
    const long = [...Array<Turn>(150).fill(answered), prompt];
    expect(messagesFor(long, 150, "base", 100_000)).toHaveLength(199);
    expect(messagesFor(long, 99, "base", 100_000)).toHaveLength(199);
    expect(messagesFor(long, 98, "base", 100_000)).toHaveLength(197);
  });

  it("leaves out a turn that got no answer", () => {
    const unanswered = after(asked, { type: "stopped", takeId: "s1" }, second).turns;
    expect(messagesFor(unanswered, 1, "base", 1000)).toHaveLength(1);
  });
});

describe("the kept conversation", () => {
  it("comes back to its owner, with a cut answer settled as stopped", () => {
    keepConversation("ann@example.com", after(asked, words("s1", "Half")));
    const kept = keptConversation("ann@example.com");
    expect(take(kept)).toMatchObject({ text: "Half", state: "stopped" });
    expect(busy(kept)).toBe(false);
  });

  it("is nobody else's", () => {
    keepConversation("ann@example.com", after(asked));
    expect(keptConversation("bob@example.com")).toEqual(EMPTY);
    forgetConversation();
    expect(keptConversation("ann@example.com")).toEqual(EMPTY);
  });

  it("survives what another version of the page wrote", () => {
    sessionStorage.setItem("storyloom.conversation", '{"owner":"ann@example.com","conversation":{}}');
    expect(keptConversation("ann@example.com")).toEqual(EMPTY);
  });
});

describe("text", () => {
  it("splits paragraphs and keeps the lines of a verse", () => {
    expect(paragraphs("One\ntwo\n\n\n  Three \n\n")).toEqual(["One\ntwo", "Three"]);
    expect(paragraphs("")).toEqual([]);
  });

  it("keeps an indent, which may be the first line's own", () => {
    expect(paragraphs("    indented")).toEqual(["    indented"]);
  });

  it("reads out sentences only once they are complete", () => {
    expect(completeSentences("The tide went. Ilse wal", false)).toEqual(["The tide went."]);
    expect(completeSentences("The tide went. Ilse walked.", true)).toEqual([
      "The tide went.",
      "Ilse walked.",
    ]);
  });
});
