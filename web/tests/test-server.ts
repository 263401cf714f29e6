import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface Reply {
  status?: number;
  body?: object;
  text?: string;
  headers?: Record<string, string>;
}

export interface Received {
  path: string;
  target: string | undefined;
  authorization: string | undefined;
  answerId: string | undefined;
  contentType: string;
  raw: Buffer;
  body: unknown;
}

/** A real HTTP server that gives prepared replies in order and remembers what it was asked. */
export class TestServer {
  readonly requests: Received[] = [];
  private readonly prepared: Reply[] = [];

  private constructor(private readonly server: Server) {}

  static async start(): Promise<TestServer> {
    const server = createServer((request, response) => {
      // The tests' documents have another origin, as the page has for Cognito and S3.
      response.setHeader("Access-Control-Allow-Origin", "*");
      response.setHeader("Access-Control-Allow-Headers", "*, Authorization");
      response.setHeader("Access-Control-Expose-Headers", "*");
      if (request.method === "OPTIONS") {
        response.end();
        return;
      }
      void received(request).then((asked) => {
        test.requests.push(asked);
        const { status = 200, body = {}, text, headers = {} } = test.prepared.shift() ?? { status: 599 };
        response.writeHead(status, { "Content-Type": "application/json", ...headers });
        response.end(text ?? JSON.stringify(body));
      });
    });
    const test = new TestServer(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return test;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo | null)?.port ?? 0}/`;
  }

  replies(...replies: Reply[]): void {
    this.prepared.push(...replies);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

async function received(request: IncomingMessage): Promise<Received> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const raw = Buffer.concat(parts);
  const { authorization, "content-type": contentType = "" } = request.headers;
  return {
    path: request.url ?? "",
    target: request.headers["x-amz-target"] as string | undefined,
    authorization,
    answerId: request.headers["x-answer-id"] as string | undefined,
    contentType,
    raw,
    body: contentType.includes("json") && raw.length > 0 ? JSON.parse(raw.toString()) : null,
  };
}
