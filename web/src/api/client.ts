import createClient from "openapi-fetch";
import type {
  AuditEntry,
  ChatRequest,
  CreatedKey,
  ErrorDetail,
  Hosting,
  Key,
  Model,
  MonthlyCosts,
  Myself,
  NewKey,
  Person,
  Role,
  Run,
  RunDetail,
  Started,
  Status,
  Stopping,
  StoryFile,
  UploadForm,
  VersionDecision,
} from "./contract";
import type { paths } from "./openapi";
import { SignInExpired } from "./session";

/** What went wrong and what to do about it, in words for the person. */
export interface Problem {
  message: string;
  cure: string | null;
}

/** The model cannot answer yet. */
export interface Waking {
  /** `asleep`, `waking`, `failing` or `unavailable`. */
  stage: string;
  /** Seconds until it should answer; null if unknown. */
  expectedSeconds: number | null;
}

/** The API answered with an error. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly type: string,
    message: string,
    readonly cure: string | null,
    /** Seconds until the next request, if the API names them. */
    readonly retryAfter: number | null = null,
    readonly waking: Waking | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** Not sent through the client, which would wait for a token: a tab that closes cannot wait. */
const CANCEL_PATH = "/api/v1/answers/{answer_id}/cancel" satisfies keyof paths;

/** The part of `Session` that gives requests their ID token. */
export interface TokenSource {
  token(): Promise<string>;
  renew(): Promise<string>;
}

/** The routes of `docs/openapi.json`. Each method throws ApiError, SignInExpired or a network error. */
export class Api {
  private readonly client;
  /** The token of the newest request, for a cancellation, which cannot wait for a new one. */
  private newestToken: string | null = null;

  constructor(
    private readonly session: TokenSource,
    /** Called when a request finds that the sign-in has expired. */
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

  /** Return who is signed in and what they may do. */
  me(signal?: AbortSignal): Promise<Myself> {
    return body(this.client.GET("/api/me", withSignal(signal)));
  }

  wake(): Promise<Hosting> {
    return body(this.client.POST("/api/wake"));
  }

  /** Put the model to sleep for everybody. */
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

  /** Start a run with all stories, or one after the active run. With `again` it trains on unchanged stories, too. */
  startRun(again = false): Promise<Started> {
    return body(this.client.POST("/api/runs", { body: { again } }));
  }

  /** Resume a failed run where it failed. */
  resumeRun(runId: string): Promise<Started> {
    return body(this.client.POST("/api/runs/{run_id}/resume", { params: { path: { run_id: runId } } }));
  }

  /** Stop an active run. Its record shows that a moment later. */
  stopRun(runId: string): Promise<Stopping> {
    return body(this.client.POST("/api/runs/{run_id}/stop", { params: { path: { run_id: runId } } }));
  }

  /** Approve a run that waits before it trains. Doing so twice changes nothing. */
  approve(runId: string): Promise<Run> {
    return body(this.client.POST("/api/runs/{run_id}/approve", { params: { path: { run_id: runId } } }));
  }

  /** Decline a run that waits before it trains. */
  decline(runId: string): Promise<Run> {
    return body(this.client.POST("/api/runs/{run_id}/decline", { params: { path: { run_id: runId } } }));
  }

  async models(signal?: AbortSignal): Promise<Model[]> {
    return (await body(this.client.GET("/api/models", withSignal(signal)))).models;
  }

  /** Approve, activate or reject a version. Returns in words what was done. */
  async decide(version: string, decision: VersionDecision): Promise<string> {
    const path = `/api/models/{version}/${decision}` as const;
    return (await body(this.client.POST(path, { params: { path: { version } } }))).message;
  }

  async stories(signal?: AbortSignal): Promise<StoryFile[]> {
    return (await body(this.client.GET("/api/stories", withSignal(signal)))).stories;
  }

  /** Request permission to upload one file of `size` bytes. */
  uploadForm(name: string, size: number): Promise<UploadForm> {
    return body(this.client.POST("/api/stories", { body: { name, size } }));
  }

  /** Delete a story from the bucket. Returns in words how to bring it back. */
  async deleteStory(key: string): Promise<string> {
    return (await body(this.client.DELETE("/api/stories/{key}", { params: { path: { key } } }))).message;
  }

  /** Return the costs of a month such as `2026-11`. */
  costs(month: string, signal?: AbortSignal): Promise<MonthlyCosts> {
    return body(this.client.GET("/api/costs", { params: { query: { month } }, ...withSignal(signal) }));
  }

  async keys(signal?: AbortSignal): Promise<Key[]> {
    return (await body(this.client.GET("/api/keys", withSignal(signal)))).keys;
  }

  /** Create an API key. Only this response has its text. */
  makeKey(wanted: NewKey): Promise<CreatedKey> {
    return body(this.client.POST("/api/keys", { body: wanted }));
  }

  /** Revoke an API key. Doing so twice changes nothing. */
  revokeKey(keyId: string): Promise<Key> {
    return body(this.client.DELETE("/api/keys/{key_id}", { params: { path: { key_id: keyId } } }));
  }

  async people(signal?: AbortSignal): Promise<Person[]> {
    return (await body(this.client.GET("/api/people", withSignal(signal)))).people;
  }

  /** Invite a person, who gets a one-time password by e-mail. */
  invite(email: string, role: Role): Promise<Person> {
    return body(this.client.POST("/api/people", { body: { email, role } }));
  }

  changeRole(personId: string, role: Role): Promise<Person> {
    const params = { path: { person_id: personId } };
    return body(this.client.PATCH("/api/people/{person_id}", { params, body: { role } }));
  }

  /** Remove a person and their keys. */
  removePerson(personId: string): Promise<Person> {
    return body(this.client.DELETE("/api/people/{person_id}", { params: { path: { person_id: personId } } }));
  }

  /** Return the newest entries of the audit trail. */
  async auditTrail(signal?: AbortSignal): Promise<AuditEntry[]> {
    return (await body(this.client.GET("/api/audit", withSignal(signal)))).entries;
  }

  /** Request an answer as a stream of server-sent events, under an id by which it can be cancelled. */
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
   * Cancel an answer, whether or not it has begun. Closing the connection does not: AWS does not report that.
   *
   * The request is sent at once with the newest token, and outlives the page and the sign-in.
   */
  cancelAnswer(answerId: string): void {
    const send = (token: string) =>
      fetch(this.origin.replace(/\/$/, "") + CANCEL_PATH.replace("{answer_id}", answerId), {
        method: "POST",
        headers: { Authorization: `Bearer ${token}` },
        keepalive: true,
      });
    if (this.newestToken === null) return; // nothing was requested yet
    send(this.newestToken)
      .then(async (response) => {
        if (response.status === 401) await send(await this.session.renew());
      })
      .catch(() => undefined); // then the answer ends by itself
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
    const retry = request.clone(); // a body can be sent only once
    this.newestToken = await this.session.token();
    let response = await fetch(withToken(request, this.newestToken));
    // By the server's clock a token may have expired that is valid by this one: renew it once.
    if (response.status === 401) {
      this.newestToken = await this.session.renew();
      response = await fetch(withToken(retry, this.newestToken));
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

/** Fill in a path. A story's key may have folders, whose slashes stay slashes. */
function pathWithFolders(path: string, values: Record<string, unknown>): string {
  const encoded = (name: string) => encodeURIComponent(String(values[name])).replaceAll("%2F", "/");
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encoded(name));
}

/** Return the body of a response. A slow response may have begun with status 200 and still contain an error. */
async function body<T>(call: Promise<{ data?: T; response: Response }>): Promise<T> {
  const { data, response } = await call;
  const { error } = (data ?? {}) as ErrorBody;
  if (error !== undefined) throw errorIn({ error }, response);
  return data as T;
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** An error body, of the API (`error`) or of API Gateway (`message`). */
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

/** Return what went wrong, in words for the person. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return { message: error.message, cure: error.cure };
  if (error instanceof SignInExpired) return { message: error.message, cure: null };
  if (error instanceof TypeError) {
    // fetch throws it if there is no response at all; its message differs between browsers.
    return { message: "Storyloom cannot be reached.", cure: "Check your connection and try again." };
  }
  return { message: error instanceof Error ? error.message : String(error), cure: null };
}
