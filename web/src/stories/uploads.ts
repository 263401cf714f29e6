import type { Problem } from "../api";

/** A `refused` file was never sent, because it could not be accepted; a `failed` one may be tried again. */
export type UploadState = "waiting" | "sending" | "done" | "failed" | "stopped" | "refused";

/** One file on its way into the bucket. */
export interface Upload {
  id: string;
  name: string;
  size: number;
  state: UploadState;
  /** The part sent, from 0 to 1. */
  part: number;
  problem: Problem | null;
}

export type UploadEvent =
  | { type: "added"; uploads: { id: string; name: string; size: number; problem: Problem | null }[] }
  | { type: "progress"; id: string; part: number }
  | { type: "done"; id: string }
  | { type: "failed"; id: string; problem: Problem }
  | { type: "stopped"; id: string }
  | { type: "waiting"; id: string }
  | { type: "cleared" };

/** The uploads after an event; `cleared` removes those that have arrived. */
export function uploadsAfter(uploads: Upload[], event: UploadEvent): Upload[] {
  switch (event.type) {
    case "added":
      return [...uploads, ...event.uploads.map(newUpload)];
    case "cleared":
      return uploads.filter((upload) => upload.state !== "done");
    default:
      return uploads.map((upload) => (upload.id === event.id ? uploadAfter(upload, event) : upload));
  }
}

function uploadAfter(upload: Upload, event: Exclude<UploadEvent, { type: "added" | "cleared" }>): Upload {
  switch (event.type) {
    case "waiting":
      return { ...upload, state: "waiting", part: 0, problem: null };
    case "progress":
      return { ...upload, state: "sending", part: event.part };
    case "done":
      return { ...upload, state: "done", part: 1 };
    case "failed":
      return { ...upload, state: "failed", problem: event.problem };
    case "stopped":
      return { ...upload, state: "stopped" };
  }
}

function newUpload(file: { id: string; name: string; size: number; problem: Problem | null }): Upload {
  return { ...file, state: file.problem === null ? "waiting" : "refused", part: 0 };
}

/** How many files have arrived, of how many, and how many could not. */
export function tally(uploads: readonly Upload[]): {
  done: number;
  failed: number;
  all: number;
  open: number;
} {
  const having = (...states: UploadState[]) =>
    uploads.filter((upload) => states.includes(upload.state)).length;
  return {
    done: having("done"),
    failed: having("failed", "refused"),
    open: having("waiting", "sending"),
    all: uploads.length,
  };
}
