/** Files on their way into the stories bucket: chosen or dropped, checked, sent three at a time. */
import { useCallback, useEffect, useReducer, useRef } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../../api/client";
import { MAX_UPLOAD_BYTES, type UploadForm } from "../../api/contract";
import { fileSize } from "../../ui/format";

/** How many files are sent at once: enough to fill a home connection, few enough to show steady progress. */
const MAX_CONCURRENT_UPLOADS = 3;

/** A `refused` file was never sent, because it would not be accepted. A `failed` one may be tried again. */
export type UploadState = "waiting" | "sending" | "done" | "failed" | "stopped" | "refused";

export interface Upload {
  id: string;
  name: string;
  size: number;
  state: UploadState;
  /** How much is sent, from 0 to 1. */
  progress: number;
  problem: Problem | null;
}

/** A file and the name that it gets in the bucket, which contains the folders that it was dropped in. */
export interface NamedFile {
  name: string;
  file: File;
}

export interface Uploads {
  uploads: Upload[];
  add(files: NamedFile[]): void;
  /** Send a file again that failed or was stopped. */
  retry(id: string): void;
  stop(id: string): void;
  /** Remove the uploaded files from the list. */
  clear(): void;
}

/** Hold the uploads of the open view; leaving the view stops them. */
export function useUploads(api: Api): Uploads {
  const [uploads, dispatch] = useReducer(uploadsReducer, []);
  const files = useRef(new Map<string, NamedFile>());
  const controllers = useRef(new Map<string, AbortController>());

  useEffect(() => {
    const running = controllers.current;
    return () => {
      for (const controller of running.values()) controller.abort();
    };
  }, []);

  const send = useCallback(
    async (id: string, { name, file }: NamedFile, signal: AbortSignal) => {
      try {
        const form = await api.uploadForm(name, file.size);
        signal.throwIfAborted();
        await sendFile(form, file, (progress) => dispatch({ type: "progress", id, progress }), signal);
        dispatch({ type: "done", id });
      } catch (error) {
        if (signal.aborted) dispatch({ type: "stopped", id });
        else dispatch({ type: "failed", id, problem: error instanceof UploadError ? error : problemOf(error) });
      } finally {
        controllers.current.delete(id);
      }
    },
    [api],
  );

  useEffect(() => {
    const sending = uploads.filter((upload) => upload.state === "sending").length;
    const waiting = uploads.filter((upload) => upload.state === "waiting");
    for (const { id } of waiting.slice(0, Math.max(MAX_CONCURRENT_UPLOADS - sending, 0))) {
      const file = files.current.get(id);
      if (file === undefined) continue;
      const controller = new AbortController();
      controllers.current.set(id, controller);
      dispatch({ type: "progress", id, progress: 0 });
      void send(id, file, controller.signal);
    }
  }, [uploads, send]);

  return {
    uploads,
    add(added) {
      const entries = added.map(({ name, file }) => ({
        id: crypto.randomUUID(),
        name,
        size: file.size,
        problem: refusalReason(file),
        file,
      }));
      for (const { id, name, file } of entries) files.current.set(id, { name, file });
      dispatch({ type: "added", uploads: entries.map(({ file: _, ...upload }) => upload) });
    },
    retry: (id) => dispatch({ type: "waiting", id }),
    stop(id) {
      const controller = controllers.current.get(id);
      // A file that is being sent reports by itself that it has stopped; one that waits does not.
      if (controller === undefined) dispatch({ type: "stopped", id });
      else controller.abort();
    },
    clear: () => dispatch({ type: "cleared" }),
  };
}

export type UploadEvent =
  | { type: "added"; uploads: { id: string; name: string; size: number; problem: Problem | null }[] }
  | { type: "progress"; id: string; progress: number }
  | { type: "done"; id: string }
  | { type: "failed"; id: string; problem: Problem }
  | { type: "stopped"; id: string }
  | { type: "waiting"; id: string }
  | { type: "cleared" };

/** Return the uploads after an event. */
export function uploadsReducer(uploads: Upload[], event: UploadEvent): Upload[] {
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
      return { ...upload, state: "waiting", progress: 0, problem: null };
    case "progress":
      return { ...upload, state: "sending", progress: event.progress };
    case "done":
      return { ...upload, state: "done", progress: 1 };
    case "failed":
      return { ...upload, state: "failed", problem: event.problem };
    case "stopped":
      return { ...upload, state: "stopped" };
  }
}

function newUpload(file: { id: string; name: string; size: number; problem: Problem | null }): Upload {
  return { ...file, state: file.problem === null ? "waiting" : "refused", progress: 0 };
}

/** Count the uploads by what became of them. */
export function tally(uploads: readonly Upload[]): { done: number; failed: number; open: number; all: number } {
  const count = (...states: UploadState[]) => uploads.filter((upload) => states.includes(upload.state)).length;
  return {
    done: count("done"),
    failed: count("failed", "refused"),
    open: count("waiting", "sending"),
    all: uploads.length,
  };
}

/** Return the files that were chosen in a dialog. */
export function chosenFiles(files: FileList | null): NamedFile[] {
  return Array.from(files ?? [], (file) => ({ name: file.name, file }));
}

/**
 * Return the files of a drop and of the folders in it.
 *
 * Call it while the drop event is handled: its items are gone afterwards.
 */
export async function droppedFiles(transfer: DataTransfer): Promise<NamedFile[]> {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry());
  const files = chosenFiles(transfer.files);
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  const found = await Promise.all(entries.map((entry) => (entry === null ? [] : filesIn(entry))));
  return found.flat();
}

async function filesIn(entry: FileSystemEntry): Promise<NamedFile[]> {
  // Files such as .DS_Store belong to the operating system.
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ name: entry.fullPath.replace(/^\/+/, ""), file }];
  }
  const files: NamedFile[] = [];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // A reader returns a folder in parts; an empty part is the end.
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (part.length === 0) return files;
    for (const child of part) files.push(...(await filesIn(child)));
  }
}

/** An upload failed, with what to do about it. */
export class UploadError extends Error implements Problem {
  constructor(
    message: string,
    readonly cure: string | null,
  ) {
    super(message);
    this.name = "UploadError";
  }
}

/** Return why a file cannot be uploaded, before anything is sent; null if it can. */
export function refusalReason(file: { name: string; size: number }): Problem | null {
  if (file.size === 0) return { message: "The file is empty.", cure: "Check that it was saved." };
  if (file.size > MAX_UPLOAD_BYTES) {
    return {
      message: `The file has ${fileSize(file.size)}; the limit for one upload is ${fileSize(MAX_UPLOAD_BYTES)}.`,
      cure: "Split it, or upload it with `storyloom upload`.",
    };
  }
  return null;
}

/**
 * Send one file to S3 with a presigned POST.
 *
 * It uses XMLHttpRequest, because `fetch` does not report how much of a body has been sent.
 *
 * @param onProgress called with the part that is sent, from 0 to 1.
 * @throws UploadError; an AbortError if `signal` fires.
 */
export function sendFile(
  form: UploadForm,
  file: File,
  onProgress: (part: number) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      if (total > 0) onProgress(loaded / total);
    });
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(s3Error(request.status, request.responseText));
    });
    request.addEventListener("error", () =>
      reject(new UploadError("The connection broke off.", "Check your connection and try again.")),
    );
    request.addEventListener("abort", () => reject(new DOMException("Upload stopped", "AbortError")));
    request.addEventListener("loadend", () => signal.removeEventListener("abort", abort));
    signal.addEventListener("abort", abort);
    request.open("POST", form.url);
    request.send(formData(form, file));
    if (signal.aborted) abort();
  });
}

function formData(form: UploadForm, file: File): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(form.fields)) data.append(name, value);
  // S3 ignores every field that comes after the file.
  data.append("file", file);
  return data;
}

function s3Error(status: number, body: string): UploadError {
  const code = /<Code>([^<]+)<\/Code>/.exec(body)?.[1];
  // The form is signed for the size that the file had when it was chosen.
  if (code === "EntityTooLarge" || code === "EntityTooSmall") {
    return new UploadError("The file has changed since it was chosen.", "Choose it again.");
  }
  if (code === "AccessDenied") {
    return new UploadError("The permission to upload has expired.", "Try again.");
  }
  return new UploadError(`S3 refused the file (${code ?? `status ${status}`}).`, "Try again.");
}
