/** The REST API's bodies, as `docs/contracts.md` names them. Times are ISO 8601 in UTC. */

export type HostingStatus = "asleep" | "waking" | "awake" | "failing";

export interface Hosting {
  status: HostingStatus;
  version?: string | null;
  since?: string | null;
  message?: string | null;
  /** Seconds from now until it answers, while it wakes. */
  expected_seconds?: number | null;
  /** The machine that hosts it, while there is one. */
  instance?: string | null;
  /** What the endpoint has cost since the month began (UTC); null where a price is not known. */
  cost_this_month_usd?: number | null;
  /** Of what month the prices are. */
  price_date?: string;
}

export interface LiveModel {
  version: string;
  run_id: string;
  base_perplexity?: number | null;
  tuned_perplexity?: number | null;
  created_at?: string | null;
}

export interface Status {
  hosting: Hosting;
  live: LiveModel | null;
  run: Run | null;
  base_model: { name: string; id: string };
  limits: Limits;
  usage: Usage;
}

/** How much may be asked. */
export interface Limits {
  /** Of a chat. */
  messages: number;
  /** Of all messages of a chat together. */
  prompt_characters: number;
  /** Of a chat and its answer together. */
  context_tokens: number;
  answers_at_once: number;
  /** Of the key that asks; null for a person. */
  requests_per_minute: number | null;
  /** Of one story file. */
  upload_bytes: number;
}

/** What the caller has used of the day, which begins at midnight UTC. */
export interface Usage {
  tokens_today: number;
  daily_tokens: number;
}

export type RunStatus =
  | "running"
  /** For somebody's yes before it trains. */
  | "waiting"
  | "succeeded"
  | "not_better"
  /** It has ended, and its version waits for somebody's yes. */
  | "pending_approval"
  | "stopped_early"
  | "declined"
  /** Stories came while it waited; a run with all of them took its place. */
  | "superseded"
  | "failed";

/** Whether a run has not ended yet. */
export function isGoing(status: RunStatus): boolean {
  return status === "running" || status === "waiting";
}

export interface Failure {
  step?: string | null;
  error?: string | null;
  cause?: string | null;
  log_tail?: string | null;
}

export interface Run {
  run_id: string;
  status: RunStatus;
  step?: string | null;
  message?: string | null;
  started_at?: string | null;
  ended_at?: string | null;
  reason?: string | null;
  /** When a run that waits ends by itself. */
  waits_until?: string | null;
  files?: number | null;
  stories?: number | null;
  words?: number | null;
  base_perplexity?: number | null;
  tuned_perplexity?: number | null;
  live_perplexity?: number | null;
  version?: string | null;
  failure?: Failure | null;
}

export type VersionStatus = "pending" | "approved" | "rejected" | "live" | "previous" | "failed";

/** One version of the model. */
export interface Model {
  version: string;
  run_id: string;
  status: VersionStatus;
  base_model: string;
  base_perplexity?: number | null;
  tuned_perplexity?: number | null;
  /** The gate's words. */
  decision?: string | null;
  stories?: number | null;
  words?: number | null;
  created_at: string;
  decided_by?: string | null;
}

/** What may be asked of a version. */
export type VersionDecision = "activate" | "approve" | "reject";

/** One state of the execution. */
export interface StateRecord {
  name: string;
  status: string;
  started_at?: string | null;
  seconds?: number | null;
}

export interface Reject {
  source_key: string;
  source_version?: string | null;
  /** The file inside a zip or the line of a .jsonl, or null. */
  entry: string | null;
  reason: string;
  cure: string;
}

export interface Part {
  stories: number;
  words: number;
  examples: number;
}

export interface DataReport {
  run_id: string;
  files: number;
  kept: number;
  rejected: Reject[];
  stories: number;
  words: number;
  languages: Record<string, number>;
  duplicates: { kept: string; dropped: string; kind: "exact" | "near" | "part"; similarity: number }[];
  split: { train: Part; validation: Part; test: Part };
  enough: boolean;
  verdict: string;
  training_minutes_estimate: number;
  /** null where the price of the instance is not known. */
  cost_estimate_usd: number | null;
  price_date: string;
}

export interface LossPoint {
  step: number;
  train_loss?: number | null;
  validation_loss?: number | null;
}

/** How far the training is. */
export interface TrainingProgress {
  step: number;
  of: number;
  /** Seconds since its first step. */
  seconds: number;
}

export interface RunDetail extends Run {
  states?: StateRecord[];
  report?: DataReport | null;
  /** Where the data report can be read as a page; the link works for an hour. */
  report_url?: string | null;
  /** Where the evaluation can be read as a page; the link works for an hour. */
  evaluation_url?: string | null;
  metrics?: LossPoint[] | null;
  progress?: TrainingProgress | null;
}

export interface StoryFile {
  key: string;
  /** Bytes. */
  size: number;
  modified_at: string;
}

/** An S3 presigned POST: where and with which form fields the browser sends a file. */
export interface UploadTicket {
  url: string;
  fields: Record<string, string>;
  key: string;
}

/** The largest file that may be uploaded, in bytes. */
export const MAX_UPLOAD_BYTES = 50 * 1024 * 1024;

export interface ChatMessage {
  role: "user" | "assistant";
  content: string;
}

export interface ChatRequest {
  model: string;
  messages: ChatMessage[];
  max_tokens?: number;
}
