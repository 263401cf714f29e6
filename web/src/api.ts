import createClient from "openapi-fetch";
import type {
  AuditEntry,
  ChatRequest,
  ErrorDetail,
  Hosting,
  Key,
  MadeKey,
  Model,
  MonthlyCosts,
  Myself,
  Person,
  Role,
  Run,
  RunDetail,
  Started,
  Status,
  Stopping,
  StoryFile,
  UploadTicket,
  VersionDecision,
  WantedKey,
} from "./contract";
import type { paths } from "./openapi";
import { SignInExpired } from "./session";

/** Something that went wrong, in words for the person: what, and what to do about it. */
export interface Problem {
  message: string;
  cure: string | null;
}

/** The model cannot answer yet. */
export interface Waking {
  /** `asleep`, `waking`, `failing` or `unavailable`. */
  stage: string;
  /** Seconds from now until it should answer; null when unknown. */
  expectedSeconds: number | null;
}

/** The API answered, but not with what was asked for. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly type: string,
    message: string,
    readonly cure: string | null,
    /** Seconds after which to ask again, when the API says so. */
    readonly retryAfter: number | null = null,
    readonly waking: Waking | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** Ends an answer. It is sent by plain fetch: a tab that closes has no turn of the event loop to wait for. */
const CANCEL = "/api/v1/answers/{answer_id}/cancel" satisfies keyof paths;

/** Where requests get their ID token: the part of `Session` that the API needs. */
export interface TokenSource {
  token(): Promise<string>;
  renew(): Promise<string>;
}

/** The API's routes, as `docs/openapi.json` has them. Each throws ApiError, SignInExpired or a network error. */
export class Api {
  private readonly client;
  /** The token of the newest request, for one that cannot wait for another. */
  private newestToken: string | null = null;

  constructor(
    private readonly session: TokenSource,
    /** Called once a request finds that the sign-in is over. */
    private readonly onExpired: () => void,
    private readonly origin = "",
  ) {
    this.client = createClient<paths>({
      baseUrl: origin,
      fetch: (request) => this.send(request),
      pathSerializer: pathWithFolders,
    });
  }

  status(signal?: AbortSignal): Promise<Status> {
    return body(this.client.GET("/api/status", withSignal(signal)));
  }

  /** Who is signed in, and what they may do now. */
  me(signal?: AbortSignal): Promise<Myself> {
    return body(this.client.GET("/api/me", withSignal(signal)));
  }

  wake(): Promise<Hosting> {
    return body(this.client.POST("/api/wake"));
  }

  /** Put the model to sleep, for everybody. */
  sleep(): Promise<Hosting> {
    return body(this.client.POST("/api/sleep"));
  }

  async runs(signal?: AbortSignal): Promise<Run[]> {
    return (await body(this.client.GET("/api/runs", withSignal(signal)))).runs;
  }

  async run(runId: string, signal?: AbortSignal): Promise<RunDetail> {
    const path = { run_id: runId };
    const run = await body(this.client.GET("/api/runs/{run_id}", { params: { path }, ...withSignal(signal) }));
    return run as RunDetail; // its report has no schema of its own
  }

  /** Start a run with all stories, with `again` also if none has changed; while one is going, one follows it. */
  startRun(again = false): Promise<Started> {
    return body(this.client.POST("/api/runs", { body: { again } }));
  }

  /** Take a failed run up again where it failed. */
  resumeRun(runId: string): Promise<Started> {
    return body(this.client.POST("/api/runs/{run_id}/resume", { params: { path: { run_id: runId } } }));
  }

  /** Stop a run that is going; its record says so a moment later. */
  stopRun(runId: string): Promise<Stopping> {
    return body(this.client.POST("/api/runs/{run_id}/stop", { params: { path: { run_id: runId } } }));
  }

  /** Say yes to a run that waits before it trains; saying it again changes nothing. */
  approve(runId: string): Promise<Run> {
    return body(this.client.POST("/api/runs/{run_id}/approve", { params: { path: { run_id: runId } } }));
  }

  /** Say no to it. */
  decline(runId: string): Promise<Run> {
    return body(this.client.POST("/api/runs/{run_id}/decline", { params: { path: { run_id: runId } } }));
  }

  async models(signal?: AbortSignal): Promise<Model[]> {
    return (await body(this.client.GET("/api/models", withSignal(signal)))).models;
  }

  /** Say what is to become of a version; what was done comes back in words. */
  async decide(version: string, decision: VersionDecision): Promise<string> {
    const path = `/api/models/{version}/${decision}` as const;
    return (await body(this.client.POST(path, { params: { path: { version } } }))).message;
  }

  async stories(signal?: AbortSignal): Promise<StoryFile[]> {
    return (await body(this.client.GET("/api/stories", withSignal(signal)))).stories;
  }

  /** Ask for leave to upload one file of `size` bytes. */
  uploadTicket(name: string, size: number): Promise<UploadTicket> {
    return body(this.client.POST("/api/stories", { body: { name, size } }));
  }

  /** Take a story out of the bucket; how to get it back comes back in words. */
  async deleteStory(key: string): Promise<string> {
    return (await body(this.client.DELETE("/api/stories/{key}", { params: { path: { key } } }))).message;
  }

  /** What a month such as `2026-11` costs. */
  costs(month: string, signal?: AbortSignal): Promise<MonthlyCosts> {
    return body(this.client.GET("/api/costs", { params: { query: { month } }, ...withSignal(signal) }));
  }

  async keys(signal?: AbortSignal): Promise<Key[]> {
    return (await body(this.client.GET("/api/keys", withSignal(signal)))).keys;
  }

  /** Make a key. Only this answer has its text. */
  makeKey(wanted: WantedKey): Promise<MadeKey> {
    return body(this.client.POST("/api/keys", { body: wanted }));
  }

  /** Have a key work no longer; doing it again changes nothing. */
  revokeKey(keyId: string): Promise<Key> {
    return body(this.client.DELETE("/api/keys/{key_id}", { params: { path: { key_id: keyId } } }));
  }

  async people(signal?: AbortSignal): Promise<Person[]> {
    return (await body(this.client.GET("/api/people", withSignal(signal)))).people;
  }

  /** Invite somebody, who gets a one-time password by e-mail. */
  invite(email: string, role: Role): Promise<Person> {
    return body(this.client.POST("/api/people", { body: { email, role } }));
  }

  changeRole(personId: string, role: Role): Promise<Person> {
    const params = { path: { person_id: personId } };
    return body(this.client.PATCH("/api/people/{person_id}", { params, body: { role } }));
  }

  /** Remove somebody, and their keys with them. */
  removePerson(personId: string): Promise<Person> {
    return body(this.client.DELETE("/api/people/{person_id}", { params: { path: { person_id: personId } } }));
  }

  /** The newest entries of the audit trail. */
  async auditTrail(signal?: AbortSignal): Promise<AuditEntry[]> {
    return (await body(this.client.GET("/api/audit", withSignal(signal)))).entries;
  }

  /** Ask for an answer as a stream of server-sent events, under an id by which it can be cancelled. */
  async chat(request: ChatRequest, answerId: string, signal: AbortSignal): Promise<Response> {
    const streamed = { ...request, stream: true };
    const answer = await this.client.POST("/api/v1/chat/completions", {
      params: { header: { "X-Answer-Id": answerId } },
      body: streamed,
      signal,
      parseAs: "stream",
    });
    return answer.response;
  }

  /**
   * End an answer, whether or not it has begun. Hanging up does not: AWS tells nobody of it.
   *
   * The request leaves at once, with the newest token, and outlives the page and the sign-in.
   */
  cancelAnswer(answerId: string): void {
    const send = (token: string) =>
      fetch(this.origin.replace(/\/$/, "") + CANCEL.replace("{answer_id}", answerId), {
        method: "POST",
        headers: { Authorization: `Bearer ${token}` },
        keepalive: true,
      });
    if (this.newestToken === null) return; // nothing has been asked
    send(this.newestToken)
      .then(async (response) => {
        if (response.status === 401) await send(await this.session.renew());
      })
      .catch(() => undefined); // the answer then ends by itself
  }

  private async send(request: Request): Promise<Response> {
    try {
      return await this.authorized(request);
    } catch (error) {
      if (error instanceof SignInExpired) this.onExpired();
      throw error;
    }
  }

  private async authorized(request: Request): Promise<Response> {
    const again = request.clone(); // a body can be sent once
    this.newestToken = await this.session.token();
    let response = await fetch(withToken(request, this.newestToken));
    // The server may find a token expired that this machine's clock finds good: renew once, then believe it.
    if (response.status === 401) {
      this.newestToken = await this.session.renew();
      response = await fetch(withToken(again, this.newestToken));
    }
    if (response.status === 401) throw new SignInExpired();
    if (!response.ok) throw await apiError(response);
    return response;
  }
}

function withToken(request: Request, token: string): Request {
  request.headers.set("Authorization", `Bearer ${token}`);
  return request;
}

/** A story's key may have folders: their slashes are part of the path. */
function pathWithFolders(path: string, values: Record<string, unknown>): string {
  const encoded = (name: string) => encodeURIComponent(String(values[name])).replaceAll("%2F", "/");
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encoded(name));
}

/** The body of an answer. An error's status has been thrown by then, unless it came after a slow answer began. */
async function body<T>(call: Promise<{ data?: T; response: Response }>): Promise<T> {
  const { data, response } = await call;
  const { error } = (data ?? {}) as ErrorBody;
  if (error !== undefined) throw errorIn({ error }, response);
  return data as T;
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** An error as the API words it, or as API Gateway does. */
interface ErrorBody {
  error?: Partial<ErrorDetail>;
  message?: string;
}

async function apiError(response: Response): Promise<ApiError> {
  return errorIn((await response.json().catch(() => ({}))) as ErrorBody, response);
}

function errorIn(body: ErrorBody, response: Response): ApiError {
  const { error } = body;
  return new ApiError(
    response.status,
    error?.type ?? `http_${response.status}`,
    error?.message ?? body.message ?? `The server answered with status ${response.status}.`,
    error?.cure ?? null,
    seconds(response.headers.get("Retry-After")),
    response.status === 503 ? waking(body) : null,
  );
}

function waking(body: ErrorBody): Waking | null {
  const { stage, expected_seconds } = body.error ?? {};
  return stage == null ? null : { stage, expectedSeconds: expected_seconds ?? null };
}

function seconds(header: string | null): number | null {
  const value = Number(header ?? Number.NaN);
  return Number.isFinite(value) && value >= 0 ? value : null;
}

/** Say in plain words what went wrong. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return { message: error.message, cure: error.cure };
  if (error instanceof SignInExpired) return { message: error.message, cure: null };
  if (error instanceof TypeError) {
    // What fetch throws, with a wording of its own in each browser, when no answer came at all.
    return { message: "Storyloom cannot be reached.", cure: "Check your connection and try again." };
  }
  return { message: error instanceof Error ? error.message : String(error), cure: null };
}
