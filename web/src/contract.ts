/** The REST API's bodies under the page's own names; their fields are generated from `docs/openapi.json`. */
import type { components } from "./openapi";

type Schemas = components["schemas"];

export type Status = Schemas["Status"];
export type Hosting = Schemas["Hosting"];
export type HostingStatus = Hosting["status"];
export type Usage = Schemas["Usage"];

export type Run = Schemas["Run"];
export type RunStatus = Run["status"];
export type Started = Schemas["Started"];
export type Stopping = Schemas["Stopping"];
/** One state of the execution. */
export type StateRecord = Schemas["State"];
export type LossPoint = Schemas["Metric"];
export type TrainingProgress = Schemas["Progress"];
/** The trials of a run with `tune` on. */
export type Search = Schemas["Search"];
export type Trial = Schemas["Trial"];

/** One version of the model. */
export type Model = Schemas["Model"];
export type VersionStatus = Model["status"];
/** What may be asked of a version. */
export type VersionDecision = "activate" | "approve" | "reject";

export type StoryFile = Schemas["Story"];
/** An S3 presigned POST: where and with which form fields the browser sends a file. */
export type UploadTicket = Schemas["UploadForm"];

/** A program's key, without what would let anybody use it. */
export type Key = Schemas["Key"];
export type WantedKey = Schemas["WantedKey"];
/** A new key, with its text. */
export type MadeKey = Schemas["MadeKey"];
export type KeyScope = Key["scopes"][number];

/** Who asks, and what they may do now. */
export type Myself = Schemas["Myself"];
/** Somebody who may sign in. */
export type Person = Schemas["PersonRecord"];
export type Role = NonNullable<Person["role"]>;
/** One line of the audit trail. */
export type AuditEntry = Schemas["AuditEntry"];

/** A month's costs, by kind and by day. */
export type MonthlyCosts = Schemas["MonthlyCosts"];
export type CostKind = MonthlyCosts["by_kind"][number]["kind"];

export type ChatRequest = Schemas["ChatRequest"];
export type ErrorDetail = Schemas["ErrorDetail"];

/** Whether a run has not ended yet. */
export function isGoing(status: RunStatus): boolean {
  return status === "running" || status === "waiting";
}

export type RunDetail = Omit<Schemas["RunDetail"], "report"> & { report?: DataReport | null };

/**
 * The part of the data report that the page shows. The API hands the report on as the run wrote it, without a
 * schema of its own; `docs/contracts.md` has its fields.
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
  /** null where the price of the instance is not known. */
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
