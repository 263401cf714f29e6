import type { TargetedDragEvent } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api";
import type { StoryFile } from "../contract";
import { counted, fileSize, instant } from "../format";
import { BinIcon, UploadIcon } from "../icons";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";
import { DeletedNotice, DeleteStory } from "./delete";
import { chosenFiles, droppedFiles, type NamedFile } from "./dropped";
import { tally, type Upload } from "./uploads";
import { type Uploads, useUploads } from "./use-uploads";

/** Files listed before the rest has to be asked for. */
const LISTED = 100;

/** The stories in the bucket, and the way to add more. */
export function Stories({ api }: { api: Api }) {
  const list = usePoll(
    useCallback((signal: AbortSignal) => api.stories(signal), [api]),
    () => 30,
  );
  const uploads = useUploads(api);
  const [deleting, setDeleting] = useState<string | null>(null);
  const [deleted, setDeleted] = useState<string | null>(null);
  useReloadOnceArrived(uploads, list.reload);
  return (
    <>
      <h1>Stories</h1>
      <p class="quiet lede">
        Your storyteller learns from these. A while after the last file has arrived, a run starts by itself.
      </p>
      <DropZone onFiles={uploads.add} />
      <UploadList uploads={uploads} />
      <ProblemNotice problem={list.problem} />
      {deleted !== null && <DeletedNotice message={deleted} />}
      {list.value !== undefined && <StoryTable stories={list.value} onDelete={setDeleting} />}
      {deleting !== null && (
        <DeleteStory
          api={api}
          storyKey={deleting}
          onClose={() => setDeleting(null)}
          onDeleted={(message) => {
            setDeleted(message);
            list.reload();
          }}
        />
      )}
    </>
  );
}

/** Read the list again when the last of some uploads has arrived, not after each of what may be hundreds. */
function useReloadOnceArrived({ uploads }: Uploads, reload: () => void): void {
  const { open, done } = tally(uploads);
  useEffect(() => {
    if (open === 0 && done > 0) reload();
  }, [open, done, reload]);
}

function DropZone({ onFiles }: { onFiles: (files: NamedFile[]) => void }) {
  const [over, setOver] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const input = useRef<HTMLInputElement>(null);

  const drop = async (event: TargetedDragEvent<HTMLDivElement>) => {
    event.preventDefault();
    setOver(false);
    setProblem(null);
    if (event.dataTransfer === null) return;
    try {
      onFiles(await droppedFiles(event.dataTransfer));
    } catch (error) {
      setProblem({ ...problemOf(error), cure: "Drop the files themselves instead of their folder." });
    }
  };
  return (
    <>
      <div
        class={over ? "drop over" : "drop"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <UploadIcon />
        <p>
          <strong>Drop your stories here</strong>
          <br />
          <span class="quiet">Text, Markdown, JSON lines, or a zip of them; up to 50 MB a file</span>
        </p>
        <button onClick={() => input.current?.click()}>Choose files</button>
        <input
          ref={input}
          class="unseen"
          type="file"
          multiple
          tabIndex={-1}
          aria-label="Story files"
          onChange={(event) => {
            onFiles(chosenFiles(event.currentTarget.files));
            event.currentTarget.value = ""; // so that the same file can be chosen again
          }}
        />
      </div>
      <ProblemNotice problem={problem} />
    </>
  );
}

function UploadList({ uploads: { uploads, retry, stop, clear } }: { uploads: Uploads }) {
  if (uploads.length === 0) return null;
  const { done, failed, all, open } = tally(uploads);
  return (
    <section class="card" aria-label="Uploads">
      <div class="uploads-head">
        <p role="status">
          {done} of {counted(all, "file", "files")} uploaded
          {failed > 0 && `, ${failed} not`}
          {open === 0 && failed === 0 && ". That is all of them."}
        </p>
        {done > 0 && open === 0 && (
          <button class="bare" onClick={clear}>
            Clear
          </button>
        )}
      </div>
      <ul class="uploads">
        {uploads.map((upload) => (
          <UploadRow
            key={upload.id}
            upload={upload}
            onRetry={() => retry(upload.id)}
            onStop={() => stop(upload.id)}
          />
        ))}
      </ul>
    </section>
  );
}

const STATE_WORDS: Record<Upload["state"], string> = {
  waiting: "waiting",
  sending: "",
  done: "uploaded",
  failed: "",
  stopped: "stopped",
  refused: "",
};

function UploadRow({ upload, onRetry, onStop }: { upload: Upload; onRetry: () => void; onStop: () => void }) {
  const { name, size, state, part, problem } = upload;
  const open = state === "waiting" || state === "sending";
  return (
    <li data-state={state}>
      <span class="file-name">{name}</span>
      <span class="quiet small">{fileSize(size)}</span>
      {state === "sending" && <progress aria-label={`Uploading ${name}`} max={1} value={part} />}
      <span class="quiet small">{STATE_WORDS[state]}</span>
      {problem !== null && (
        <span class="upload-problem">
          {problem.message} {problem.cure}
        </span>
      )}
      {open && (
        <button class="bare" aria-label={`Stop uploading ${name}`} onClick={onStop}>
          Stop
        </button>
      )}
      {(state === "stopped" || state === "failed") && (
        <button class="bare" aria-label={`Upload ${name} again`} onClick={onRetry}>
          Try again
        </button>
      )}
    </li>
  );
}

function StoryTable({ stories, onDelete }: { stories: StoryFile[]; onDelete: (key: string) => void }) {
  const [all, setAll] = useState(false);
  if (stories.length === 0) {
    return <p class="notice">No stories yet. A handful of short stories, or one novel, is a good start.</p>;
  }
  const bytes = stories.reduce((sum, story) => sum + story.size, 0);
  const hidden = all ? 0 : Math.max(stories.length - LISTED, 0);
  return (
    <>
      <table class="stories">
        <caption>
          {counted(stories.length, "file", "files")}, {fileSize(bytes)}
        </caption>
        <thead>
          <tr>
            <th scope="col">File</th>
            <th scope="col" class="figure">
              Size
            </th>
            <th scope="col" class="figure">
              Added
            </th>
            <td class="figure" />
          </tr>
        </thead>
        <tbody>
          {stories.slice(0, stories.length - hidden).map((story) => (
            <tr key={story.key}>
              <th scope="row">{story.key}</th>
              <td class="figure">{fileSize(story.size)}</td>
              <td class="figure">{instant(story.modified_at)}</td>
              <td class="figure">
                <button class="bare" aria-label={`Delete ${story.key}`} onClick={() => onDelete(story.key)}>
                  <BinIcon />
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {hidden > 0 && (
        <button onClick={() => setAll(true)}>Show {counted(hidden, "more file", "more files")}</button>
      )}
    </>
  );
}
