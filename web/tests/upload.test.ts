// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MAX_UPLOAD_BYTES } from "../src/api/contract";
import {
  refusalReason,
  sendFile,
  tally,
  type Upload,
  UploadError,
  type UploadEvent,
  uploadsReducer,
} from "../src/views/stories/uploads";
import { TestServer } from "./test-server";

let server: TestServer;
beforeEach(async () => {
  server = await TestServer.start();
});
afterEach(() => server.stop());

const uploadForm = () => ({
  url: server.url,
  key: "tale.txt",
  fields: { key: "tale.txt", policy: "p", "x-amz-signature": "s" },
});
const file = (text: string) => new File([text], "tale.txt");
const never = () => new AbortController().signal;

describe("sendFile", () => {
  it("sends the form's fields first and the file last, and reports its progress", async () => {
    server.replies({ status: 204, text: "" });
    const parts: number[] = [];
    await sendFile(uploadForm(), file("Once upon a time"), (part) => parts.push(part), never());
    const body = server.requests[0]?.raw.toString() ?? "";
    const names = [...body.matchAll(/; name="([^"]+)"/g)].map((match) => match[1]);
    expect(names).toEqual(["key", "policy", "x-amz-signature", "file"]);
    expect(body).toContain("Once upon a time");
    expect(server.requests[0]?.contentType).toMatch(/^multipart\/form-data/);
    expect(parts.at(-1)).toBe(1);
  });

  it.each([
    ["EntityTooLarge", /changed since/],
    ["EntityTooSmall", /changed since/],
    ["AccessDenied", /expired/],
    ["SlowDown", /refused the file \(SlowDown\)/],
  ])("explains S3's %s", async (code, expected) => {
    server.replies({ status: 403, text: `<Error><Code>${code}</Code></Error>` });
    const sending = sendFile(uploadForm(), file("x"), () => undefined, never());
    await expect(sending).rejects.toThrow(expected);
    await expect(sending).rejects.toBeInstanceOf(UploadError);
  });

  it("explains a lost connection", async () => {
    const lost = uploadForm();
    await server.stop();
    await expect(sendFile(lost, file("x"), () => undefined, never())).rejects.toThrow(/connection broke off/);
  });

  it("stops when told to", async () => {
    const stop = new AbortController();
    const sending = sendFile(uploadForm(), file("x"), () => undefined, stop.signal);
    stop.abort();
    await expect(sending).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("refusalReason", () => {
  it("refuses what could never be accepted, before it is sent", () => {
    expect(refusalReason({ name: "a", size: 0 })?.message).toMatch(/empty/);
    expect(refusalReason({ name: "a", size: MAX_UPLOAD_BYTES })).toBeNull();
    expect(refusalReason({ name: "a", size: MAX_UPLOAD_BYTES + 1 })?.message).toMatch(/50 MB/);
  });
});

describe("uploadsReducer", () => {
  const after = (...events: UploadEvent[]) => events.reduce(uploadsReducer, [] as Upload[]);
  const problem = { message: "No.", cure: null };
  const added: UploadEvent = {
    type: "added",
    uploads: [
      { id: "1", name: "a", size: 1, problem: null },
      { id: "2", name: "b", size: 0, problem },
    ],
  };

  it("follows each file", () => {
    const uploads = after(added, { type: "progress", id: "1", progress: 0.5 });
    expect(uploads.map(({ state, progress }) => [state, progress])).toEqual([
      ["sending", 0.5],
      ["refused", 0],
    ]);
    expect(tally(uploads)).toEqual({ done: 0, failed: 1, open: 1, all: 2 });
    expect(tally(uploadsReducer(uploads, { type: "done", id: "1" }))).toMatchObject({ done: 1, open: 0 });
  });

  it("lets a failed file wait again without its old problem", () => {
    const failed = after(added, { type: "failed", id: "1", problem });
    expect(uploadsReducer(failed, { type: "waiting", id: "1" })[0]).toMatchObject({
      state: "waiting",
      problem: null,
    });
  });

  it("clears only what has arrived", () => {
    const uploads = after(added, { type: "done", id: "1" }, { type: "cleared" });
    expect(uploads.map((upload) => upload.id)).toEqual(["2"]);
  });
});
