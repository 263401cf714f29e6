import type {
  ChatRequest,
  Hosting,
  Model,
  Run,
  RunDetail,
  Status,
  StoryFile,
  UploadTicket,
  VersionDecision,
} from "./contract";
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

/** Where requests get their ID token: the part of `Session` that the API needs. */
export interface TokenSource {
  token(): Promise<string>;
  renew(): Promise<string>;
}

export class Api {
  constructor(
    private readonly session: TokenSource,
    /** Called once a request finds that the sign-in is over. */
    private readonly onExpired: () => void,
    private readonly base = "/api",
  ) {}

  status(signal?: AbortSignal): Promise<Status> {
    return this.json("/status", withSignal(signal));
  }

  wake(): Promise<Hosting> {
    return this.json("/wake", { method: "POST" });
  }

  async runs(signal?: AbortSignal): Promise<Run[]> {
    return (await this.json<{ runs: Run[] }>("/runs", withSignal(signal))).runs;
  }

  run(runId: string, signal?: AbortSignal): Promise<RunDetail> {
    return this.json(`/runs/${encodeURIComponent(runId)}`, withSignal(signal));
  }

  /** Say yes to a run that waits before it trains; saying it again changes nothing. */
  approve(runId: string): Promise<Run> {
    return this.json(`/runs/${encodeURIComponent(runId)}/approve`, { method: "POST" });
  }

  /** Say no to it. */
  decline(runId: string): Promise<Run> {
    return this.json(`/runs/${encodeURIComponent(runId)}/decline`, { method: "POST" });
  }

  async models(signal?: AbortSignal): Promise<Model[]> {
    return (await this.json<{ models: Model[] }>("/models", withSignal(signal))).models;
  }

  /** Say what is to become of a version; what was done comes back in words. */
  async decide(version: string, decision: VersionDecision): Promise<string> {
    const path = `/models/${encodeURIComponent(version)}/${decision}`;
    return (await this.json<{ message: string }>(path, { method: "POST" })).message;
  }

  async stories(signal?: AbortSignal): Promise<StoryFile[]> {
    return (await this.json<{ stories: StoryFile[] }>("/stories", withSignal(signal))).stories;
  }

  /** Ask for leave to upload one file of `size` bytes. */
  uploadTicket(name: string, size: number): Promise<UploadTicket> {
    return this.json("/stories", post({ name, size }));
  }

  /** Ask for an answer as a stream of server-sent events. Throws ApiError, SignInExpired or a network error. */
  chat(request: ChatRequest, signal: AbortSignal): Promise<Response> {
    return this.request("/v1/chat/completions", { ...post({ ...request, stream: true }), signal });
  }

  private async json<T>(path: string, init: RequestInit): Promise<T> {
    const response = await this.request(path, init);
    return (await response.json()) as T;
  }

  private async request(path: string, init: RequestInit): Promise<Response> {
    try {
      return await this.authorized(path, init);
    } catch (error) {
      if (error instanceof SignInExpired) this.onExpired();
      throw error;
    }
  }

  private async authorized(path: string, init: RequestInit): Promise<Response> {
    let response = await this.send(path, init, await this.session.token());
    // The server may find a token expired that this machine's clock finds good: renew once, then believe it.
    if (response.status === 401) response = await this.send(path, init, await this.session.renew());
    if (response.status === 401) throw new SignInExpired();
    if (!response.ok) throw await apiError(response);
    return response;
  }

  private send(path: string, init: RequestInit, token: string): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${token}`);
    return fetch(this.base + path, { ...init, headers });
  }
}

function post(body: object): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

function withSignal(signal: AbortSignal | undefined): RequestInit {
  return signal === undefined ? {} : { signal };
}

interface ErrorBody {
  error?: { type?: string; message?: string; cure?: string; stage?: string; expected_seconds?: number };
  stage?: string;
  expected_seconds?: number;
  message?: string;
}

async function apiError(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as ErrorBody;
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
  const stage = body.error?.stage ?? body.stage;
  if (stage === undefined) return null;
  return { stage, expectedSeconds: body.error?.expected_seconds ?? body.expected_seconds ?? null };
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
