import { describe, expect, it } from "vitest";
import { type AnswerChunk, readStream, StreamInterrupted } from "../src/views/chat/answering";
import { encode, event, streamOf } from "./bytes";

async function read(body: ReadableStream<Uint8Array>): Promise<AnswerChunk[]> {
  const chunks: AnswerChunk[] = [];
  for await (const chunk of readStream(body)) chunks.push(chunk);
  return chunks;
}

const text = (chunks: AnswerChunk[]) => chunks.map((chunk) => chunk.text).join("");

// Letters of two, three and four bytes, a keep-alive comment and Windows line ends.
const ANSWER =
  ": keep-alive\n\n" +
  event("Já ") +
  event("„wäre“ ").replaceAll("\n", "\r\n") +
  event("🧵\n\n東") +
  event("", "stop") +
  "data: [DONE]\n\n";
const WORDS = "Já „wäre“ 🧵\n\n東";

describe("readStream", () => {
  it("reads the same words wherever one cut falls", async () => {
    const bytes = encode(ANSWER);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const chunks = await read(streamOf(bytes, cut));
      expect(text(chunks), `cut at byte ${cut}`).toBe(WORDS);
      expect(chunks.at(-1)?.finishReason).toBe("stop");
    }
  });

  it("reads the same words from single bytes", async () => {
    const bytes = encode(ANSWER);
    const cuts = Array.from(bytes.keys()).slice(1);
    expect(text(await read(streamOf(bytes, ...cuts)))).toBe(WORDS);
  });

  it("returns each chunk as it arrives, not at the end", async () => {
    const channel = new TransformStream<Uint8Array, Uint8Array>();
    const writer = channel.writable.getWriter();
    const chunks = readStream(channel.readable);
    void writer.write(encode(event("one ")));
    expect((await chunks.next()).value).toMatchObject({ text: "one " });
    void writer.write(encode(event("two ")));
    expect((await chunks.next()).value).toMatchObject({ text: "two ", model: "v2" });
    await chunks.return();
    // Leaving early closes the connection.
    expect(
      await writer.closed.then(
        () => "closed",
        () => "cancelled",
      ),
    ).toBe("cancelled");
  });

  it("ends at [DONE] even when the connection stays open", async () => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(encode(event("all") + "data: [DONE]\n\n")),
    });
    expect(text(await read(body))).toBe("all");
  });

  it("throws if the stream ends before the answer", async () => {
    const chunks: AnswerChunk[] = [];
    const reading = (async () => {
      for await (const chunk of readStream(streamOf(encode(event("half a "))))) chunks.push(chunk);
    })();
    await expect(reading).rejects.toThrow(StreamInterrupted);
    expect(text(chunks)).toBe("half a ");
  });

  it("passes on an error that the server reports in mid-stream", async () => {
    const body = event("half ") + `data: {"error":{"message":"The model stopped."}}\n\n`;
    await expect(read(streamOf(encode(body)))).rejects.toThrow("The model stopped.");
  });

  it("refuses what is not JSON", async () => {
    await expect(read(streamOf(encode("data: <html>\n\n")))).rejects.toThrow(StreamInterrupted);
  });
});
