import { EventSourceParserStream } from "eventsource-parser/stream";

/** One piece of an answer as it comes off the wire. */
export interface Piece {
  text: string;
  /** The model that really answered, such as `v2`. */
  model: string | null;
  /** Why the answer ended (`stop`, `length`), in its last piece; null before. */
  finish: string | null;
}

/** The answer broke off; what had come before remains valid. */
export class BrokenAnswer extends Error {
  constructor(message = "The answer broke off before its end.") {
    super(message);
    this.name = "BrokenAnswer";
  }
}

interface Chunk {
  model?: string;
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  error?: { message?: string };
}

/**
 * Read an OpenAI chat completion stream, piece by piece, wherever the network cut its bytes.
 *
 * @throws BrokenAnswer when the server reports an error in mid-stream or closes without an ending.
 */
export async function* readAnswer(body: ReadableStream<Uint8Array>): AsyncGenerator<Piece, void> {
  const events = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (value.data === "[DONE]") return;
      const piece = pieceOf(value.data);
      if (piece.finish !== null) ended = true;
      yield piece;
    }
  } finally {
    // Also when the consumer stops early: the connection must not linger.
    await reader.cancel().catch(() => undefined);
  }
  if (!ended) throw new BrokenAnswer();
}

function pieceOf(data: string): Piece {
  const chunk = parse(data);
  if (chunk.error !== undefined) throw new BrokenAnswer(chunk.error.message);
  const choice = chunk.choices?.[0];
  return {
    text: choice?.delta?.content ?? "",
    model: chunk.model ?? null,
    finish: choice?.finish_reason ?? null,
  };
}

function parse(data: string): Chunk {
  try {
    return JSON.parse(data) as Chunk;
  } catch {
    throw new BrokenAnswer("The answer could not be read: the server sent something that is not JSON.");
  }
}
