import { describe, expect, it } from "vitest";
import { BrokenAnswer, type Piece, readAnswer } from "../src/stream";
import { encode, event, streamOf } from "./bytes";

async function read(body: ReadableStream<Uint8Array>): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for await (const piece of readAnswer(body)) pieces.push(piece);
  return pieces;
}

const text = (pieces: Piece[]) => pieces.map((piece) => piece.text).join("");

// Letters of two, three and four bytes, a keep-alive comment and Windows line ends.
const ANSWER =
  ": keep-alive\n\n" +
  event("Já ") +
  event("„wäre“ ").replaceAll("\n", "\r\n") +
  event("🧵\n\n東") +
  event("", "stop") +
  "data: [DONE]\n\n";
const WORDS = "Já „wäre“ 🧵\n\n東";

describe("readAnswer", () => {
  it("reads the same words wherever one cut falls", async () => {
    const bytes = encode(ANSWER);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const pieces = await read(streamOf(bytes, cut));
      expect(text(pieces), `cut at byte ${cut}`).toBe(WORDS);
      expect(pieces.at(-1)?.finish).toBe("stop");
    }
  });

  it("reads the same words from single bytes", async () => {
    const bytes = encode(ANSWER);
    const cuts = Array.from(bytes.keys()).slice(1);
    expect(text(await read(streamOf(bytes, ...cuts)))).toBe(WORDS);
  });

  it("hands out each piece as it comes, not at the end", async () => {
    const channel = new TransformStream<Uint8Array, Uint8Array>();
    const writer = channel.writable.getWriter();
    const pieces = readAnswer(channel.readable);
    void writer.write(encode(event("one ")));
    expect((await pieces.next()).value).toMatchObject({ text: "one " });
    void writer.write(encode(event("two ")));
    expect((await pieces.next()).value).toMatchObject({ text: "two ", model: "v2" });
    await pieces.return();
    // Leaving early lets go of the connection.
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

  it("says so when the stream ends before the answer", async () => {
    const pieces: Piece[] = [];
    const reading = (async () => {
      for await (const piece of readAnswer(streamOf(encode(event("half a "))))) pieces.push(piece);
    })();
    await expect(reading).rejects.toThrow(BrokenAnswer);
    expect(text(pieces)).toBe("half a ");
  });

  it("passes on an error that the server reports in mid-stream", async () => {
    const body = event("half ") + `data: {"error":{"message":"The model stopped."}}\n\n`;
    await expect(read(streamOf(encode(body)))).rejects.toThrow("The model stopped.");
  });

  it("refuses what is not JSON", async () => {
    await expect(read(streamOf(encode("data: <html>\n\n")))).rejects.toThrow(BrokenAnswer);
  });
});
