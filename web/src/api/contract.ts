/** The REST API's types under the page's names. Their fields are generated from `docs/openapi.json`. */
import type { components } from "./openapi";

type Schemas = components["schemas"];

export type Status = Schemas["Status"];
export type Hosting = Schemas["HostingInfo"];
export type HostingStatus = Hosting["status"];
export type Usage = Schemas["TokenUsage"];

export type Run = Schemas["Run"];
export type RunStatus = Run["status"];
export type Started = Schemas["StartedRun"];
export type Stopping = Schemas["StoppingRun"];
/** One state of the execution. */
export type StateRecord = Schemas["RunState"];
export type LossPoint = Schemas["LossMetric"];
export type TrainingProgress = Schemas["StepProgress"];
/** The trials of a run with `tune` on. */
export type Search = Schemas["Search"];
export type Trial = Schemas["Trial"];

/** One version of the model. */
export type Model = Schemas["VersionInfo"];
export type VersionStatus = Model["status"];
/** What a person may do with a version. */
export type VersionDecision = "activate" | "approve" | "reject";

export type StoryFile = Schemas["StoryInfo"];
/** A presigned POST of S3: the address and the form fields with which the browser sends a file. */
export type UploadForm = Schemas["UploadForm"];

/** An API key without its text. */
export type Key = Schemas["KeyInfo"];
export type NewKey = Schemas["NewKey"];
/** A new API key with its text. */
export type CreatedKey = Schemas["CreatedKey"];
export type KeyScope = Key["scopes"][number];

/** Who is signed in, and what they may do. */
export type Myself = Schemas["Myself"];
/** A person who may sign in. */
export type Person = Schemas["PersonRecord"];
export type Role = NonNullable<Person["role"]>;
/** One entry of the audit trail. */
export type AuditEntry = Schemas["AuditEntry"];

/** A month's costs, by kind and by day. */
export type MonthlyCosts = Schemas["MonthlyCosts"];
export type CostKind = MonthlyCosts["by_kind"][number]["kind"];

export type ChatRequest = Schemas["ChatRequest"];
export type ErrorDetail = Schemas["ErrorDetail"];

/** Tell whether a run has not ended yet. */
export function isActive(status: RunStatus): boolean {
  return status === "running" || status === "waiting";
}

export type RunDetail = Omit<Schemas["RunDetail"], "report"> & { report?: DataReport | null };

/**
 * The part of the data report that the page shows. OpenAPI has no schema of it, because the API passes on what the
 * run wrote; `docs/contracts.md` lists its fields.
 */
export interface DataReport {
  run_id: string;
  files: number;
  kept: number;
  rejected: Reject[];
  stories: number;
  words: number;
  languages: Record<string, number>;
  duplicates: { kept: string; dropped: string; kind: "exact" | "near" | "draft" | "part"; similarity: number }[];
  split: { train: Part; validation: Part; test: Part };
  enough: boolean;
  verdict: string;
  training_minutes_estimate: number;
  /** Null if the price of the instance is not known. */
  cost_estimate_usd: number | null;
  price_date: string;
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

/** The largest file that may be uploaded, in bytes. */
export const MAX_UPLOAD_BYTES = 50 * 1024 * 1024;
