import { type Problem } from "./api";
import { MAX_UPLOAD_BYTES, type UploadTicket } from "./contract";
import { fileSize } from "./format";

/** An upload that did not arrive, with what helps. */
export class UploadError extends Error implements Problem {
  constructor(
    message: string,
    readonly cure: string | null,
  ) {
    super(message);
    this.name = "UploadError";
  }
}

/** Say what is wrong with a file before anything is sent, or return null. */
export function refusal(file: { name: string; size: number }): Problem | null {
  if (file.size === 0) return { message: "The file is empty.", cure: "Check that it was saved." };
  if (file.size > MAX_UPLOAD_BYTES) {
    return {
      message: `The file has ${fileSize(file.size)}; one upload may have ${fileSize(MAX_UPLOAD_BYTES)}.`,
      cure: "Split it, or upload it with `storyloom upload`.",
    };
  }
  return null;
}

/**
 * Send one file to S3 with a presigned POST.
 *
 * XMLHttpRequest, because `fetch` cannot tell how much of a body has been sent.
 *
 * @param progress called with the part sent, from 0 to 1.
 * @throws UploadError; an AbortError when `signal` fires.
 */
export function sendFile(
  ticket: UploadTicket,
  file: File,
  progress: (part: number) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      if (total > 0) progress(loaded / total);
    });
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(s3Problem(request.status, request.responseText));
    });
    request.addEventListener("error", () =>
      reject(new UploadError("The connection broke off.", "Check your connection and try again.")),
    );
    request.addEventListener("abort", () => reject(new DOMException("Upload stopped", "AbortError")));
    request.addEventListener("loadend", () => signal.removeEventListener("abort", abort));
    signal.addEventListener("abort", abort);
    request.open("POST", ticket.url);
    request.send(formOf(ticket, file));
    if (signal.aborted) abort();
  });
}

function formOf(ticket: UploadTicket, file: File): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(ticket.fields)) form.append(name, value);
  // S3 ignores every field that comes after the file.
  form.append("file", file);
  return form;
}

function s3Problem(status: number, answer: string): UploadError {
  const code = /<Code>([^<]+)<\/Code>/.exec(answer)?.[1];
  // The form is for the size that the file had when it was chosen.
  if (code === "EntityTooLarge" || code === "EntityTooSmall") {
    return new UploadError("The file has changed since it was chosen.", "Choose it again.");
  }
  if (code === "AccessDenied") {
    return new UploadError("The permission to upload has expired.", "Try again.");
  }
  return new UploadError(`The store refused the file (${code ?? `status ${status}`}).`, "Try again.");
}
