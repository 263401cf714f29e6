/** A stream that hands out `bytes` cut at the given places. */
export function streamOf(bytes: Uint8Array, ...cuts: number[]): ReadableStream<Uint8Array> {
  const edges = [0, ...cuts, bytes.length];
  return new ReadableStream({
    start(controller) {
      for (let at = 1; at < edges.length; at += 1) {
        const part = bytes.slice(edges[at - 1], edges[at]);
        if (part.length > 0) controller.enqueue(part);
      }
      controller.close();
    },
  });
}

/** One server-sent event with a chunk of an OpenAI answer. */
export function event(content: string, finish: string | null = null, model = "v2"): string {
  const choices = [{ index: 0, delta: content === "" ? {} : { content }, finish_reason: finish }];
  return `data: ${JSON.stringify({ model, choices })}\n\n`;
}

export const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
