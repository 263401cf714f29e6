import { useCallback, useEffect, useReducer, useRef } from "preact/hooks";
import { type Api, problemOf } from "../api";
import { refusal, sendFile, UploadError } from "../upload";
import type { NamedFile } from "./dropped";
import { type Upload, uploadsAfter } from "./uploads";

/** Files sent at the same time: enough to fill a home connection, few enough to show steady progress. */
const AT_ONCE = 3;

export interface Uploads {
  uploads: Upload[];
  add(files: NamedFile[]): void;
  /** Send a file again that failed or was stopped. */
  retry(id: string): void;
  stop(id: string): void;
  /** Take the arrived files off the list. */
  clear(): void;
}

/** The files being sent to the bucket, a few at a time. */
export function useUploads(api: Api): Uploads {
  const [uploads, dispatch] = useReducer(uploadsAfter, []);
  const files = useRef(new Map<string, NamedFile>());
  const stops = useRef(new Map<string, AbortController>());

  useEffect(() => {
    const running = stops.current;
    return () => {
      for (const stop of running.values()) stop.abort();
    };
  }, []);

  const send = useCallback(
    async (id: string, { name, file }: NamedFile, signal: AbortSignal) => {
      try {
        const ticket = await api.uploadTicket(name, file.size);
        signal.throwIfAborted();
        await sendFile(ticket, file, (part) => dispatch({ type: "progress", id, part }), signal);
        dispatch({ type: "done", id });
      } catch (error) {
        if (signal.aborted) dispatch({ type: "stopped", id });
        else
          dispatch({ type: "failed", id, problem: error instanceof UploadError ? error : problemOf(error) });
      } finally {
        stops.current.delete(id);
      }
    },
    [api],
  );

  useEffect(() => {
    const sending = uploads.filter((upload) => upload.state === "sending").length;
    const waiting = uploads.filter((upload) => upload.state === "waiting");
    for (const { id } of waiting.slice(0, Math.max(AT_ONCE - sending, 0))) {
      const file = files.current.get(id);
      if (file === undefined) continue;
      const stop = new AbortController();
      stops.current.set(id, stop);
      dispatch({ type: "progress", id, part: 0 });
      void send(id, file, stop.signal);
    }
  }, [uploads, send]);

  return {
    uploads,
    add(added) {
      const entries = added.map(({ name, file }) => ({
        id: crypto.randomUUID(),
        name,
        size: file.size,
        problem: refusal(file),
        file,
      }));
      for (const { id, name, file } of entries) files.current.set(id, { name, file });
      dispatch({ type: "added", uploads: entries.map(({ file: _, ...upload }) => upload) });
    },
    retry: (id) => dispatch({ type: "waiting", id }),
    stop(id) {
      const underWay = stops.current.get(id);
      // One under way reports by itself once it has let go; one still waiting has nobody to report.
      if (underWay === undefined) dispatch({ type: "stopped", id });
      else underWay.abort();
    },
    clear: () => dispatch({ type: "cleared" }),
  };
}
