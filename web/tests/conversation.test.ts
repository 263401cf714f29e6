// @vitest-environment jsdom
import { beforeEach, describe, expect, it } from "vitest";
import {
  type ChatEvent,
  type Conversation,
  conversationReducer,
  EMPTY,
  isBusy,
  messagesFor,
  shownTake,
  type Turn,
} from "../src/views/chat/conversation";
import { completeSentences, paragraphs } from "../src/views/chat/turn";
import { deleteConversation, loadConversation, saveConversation } from "../src/views/chat/use-conversation";

const after = (...events: ChatEvent[]): Conversation => events.reduce(conversationReducer, EMPTY);

const asked: ChatEvent = {
  type: "asked",
  turnId: "t1",
  prompt: "Begin.",
  takes: [
    { model: "storyloom", takeId: "s1" },
    { model: "base", takeId: "b1" },
  ],
};
const text = (takeId: string, text: string): ChatEvent => ({ type: "text", takeId, text, answeredBy: "v2" });
const finished = (takeId: string, reason = "stop"): ChatEvent => ({ type: "finished", takeId, reason });

const take = (conversation: Conversation, answer = 0) => {
  const found = conversation.turns[0]?.answers[answer];
  if (found === undefined) throw new Error("no such answer");
  return shownTake(found);
};

describe("conversationReducer", () => {
  it("collects the text of each answer apart", () => {
    const talk = after(
      asked,
      text("s1", "The "),
      text("b1", "Once "),
      text("s1", "tide."),
      finished("s1"),
    );
    expect(take(talk, 0)).toMatchObject({ text: "The tide.", state: "done", answeredBy: "v2" });
    expect(take(talk, 1)).toMatchObject({ text: "Once ", state: "streaming" });
    expect(isBusy(talk)).toBe(true);
    expect(isBusy(conversationReducer(talk, finished("b1", "length")))).toBe(false);
    expect(take(conversationReducer(talk, finished("b1", "length")), 1).state).toBe("cut");
  });

  it("keeps the text of an answer that is stopped or fails", () => {
    const problem = { message: "Broke.", cure: null };
    const talk = after(asked, text("s1", "Half"), { type: "stopped", takeId: "s1" }, text("b1", "Part"), {
      type: "failed",
      takeId: "b1",
      problem,
    });
    expect(take(talk, 0)).toMatchObject({ text: "Half", state: "stopped" });
    expect(take(talk, 1)).toMatchObject({ text: "Part", state: "failed", problem });
  });

  it("keeps earlier takes after a retry, and shows the selected one", () => {
    const talk = after(
      asked,
      text("s1", "First"),
      finished("s1"),
      {
        type: "retried",
        turnId: "t1",
        model: "storyloom",
        takeId: "s2",
      },
      text("s2", "Second"),
    );
    expect(take(talk).text).toBe("Second");
    const back = conversationReducer(talk, { type: "take-selected", turnId: "t1", model: "storyloom", shown: 0 });
    expect(take(back).text).toBe("First");
    const beyond = conversationReducer(back, {
      type: "take-selected",
      turnId: "t1",
      model: "storyloom",
      shown: 9,
    });
    expect(take(beyond).text).toBe("Second");
  });

  it("measures the waking from when it was first seen to the newest estimate", () => {
    const waking = (at: number, expectedSeconds: number): ChatEvent => ({
      type: "waking",
      takeId: "s1",
      stage: "waking",
      expectedSeconds,
      at,
    });
    const talk = after(asked, waking(1_000, 60), waking(11_000, 40));
    expect(take(talk).waking).toEqual({ stage: "waking", since: 1_000, readyAt: 51_000 });
    expect(take(conversationReducer(talk, text("s1", "Up"))).waking).toBeNull();
  });

  it("keeps the identity of unchanged turns, so that they are not drawn again", () => {
    const one = after(asked, finished("s1"), finished("b1"));
    const two = conversationReducer(one, {
      ...asked,
      turnId: "t2",
      takes: [{ model: "storyloom", takeId: "s9" }],
    });
    expect(conversationReducer(two, text("s9", "x")).turns[0]).toBe(two.turns[0]);
  });
});

describe("messagesFor", () => {
  const second: ChatEvent = {
    ...asked,
    turnId: "t2",
    prompt: "And then?",
    takes: [{ model: "base", takeId: "b2" }],
  };
  const { turns } = after(asked, text("s1", "The tide."), text("b1", "Once."), second);

  it("sends each model its own answers", () => {
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

  it("leaves out a turn without an answer", () => {
    const unanswered = after(asked, { type: "stopped", takeId: "s1" }, second).turns;
    expect(messagesFor(unanswered, 1, "base", 1000)).toHaveLength(1);
  });
});

describe("the saved conversation", () => {
  beforeEach(() => localStorage.clear());

  it("comes back to its owner, with an unfinished answer as stopped", () => {
    saveConversation("ann@example.com", after(asked, text("s1", "Half")));
    const loaded = loadConversation("ann@example.com");
    expect(take(loaded)).toMatchObject({ text: "Half", state: "stopped" });
    expect(isBusy(loaded)).toBe(false);
  });

  it("is its owner's alone, and deleted alone", () => {
    saveConversation("ann@example.com", after(asked));
    saveConversation("bob@example.com", after(asked, text("s1", "Bob's")));
    expect(take(loadConversation("bob@example.com")).text).toBe("Bob's");
    deleteConversation("bob@example.com");
    expect(loadConversation("bob@example.com")).toEqual(EMPTY);
    expect(take(loadConversation("ann@example.com")).text).toBe("");
  });

  it("is empty if another version of the page saved it", () => {
    localStorage.setItem("storyloom.conversation:ann@example.com", '{"conversation":{}}');
    expect(loadConversation("ann@example.com")).toEqual(EMPTY);
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
