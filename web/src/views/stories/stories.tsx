import type { TargetedDragEvent } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../../api/client";
import { MAX_UPLOAD_BYTES, type StoryFile } from "../../api/contract";
import { Confirm, ProblemNotice } from "../../ui/elements";
import { counted, fileSize, instant } from "../../ui/format";
import { usePoll } from "../../ui/hooks";
import { DeleteIcon, UploadIcon } from "../../ui/icons";
import { formatsInWords } from "./formats";
import styles from "./stories.module.css";
import { chosenFiles, droppedFiles, type NamedFile, tally, type Upload, type Uploads, useUploads } from "./uploads";

/** How many files are listed at first. */
const MAX_LISTED = 100;

const POLL_SECONDS = 30;

/** Show the stories in the bucket, to add and to delete. */
export function Stories({ api }: { api: Api }) {
  const list = usePoll(
    useCallback((signal: AbortSignal) => api.stories(signal), [api]),
    () => POLL_SECONDS,
  );
  const uploads = useUploads(api);
  const [deleting, setDeleting] = useState<string | null>(null);
  const [deleted, setDeleted] = useState<string | null>(null);
  useReloadAfterUploads(uploads, list.reload);
  return (
    <>
      <h1>Stories</h1>
      <p class="quiet">
        Your storyteller is trained on these. A while after the last file has arrived, a run starts by itself.
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

/** Reload the list after the last of the uploads, not after each of what may be hundreds. */
function useReloadAfterUploads({ uploads }: Uploads, reload: () => void): void {
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
        class={over ? `${styles.drop} ${styles.over}` : styles.drop}
        role="group"
        aria-label="Add stories"
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
          <span class="quiet">
            Any of these formats: {formatsInWords()}; up to {fileSize(MAX_UPLOAD_BYTES)} per file
          </span>
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
      <div class="head">
        <p role="status">
          {done} of {counted(all, "file", "files")} uploaded
          {failed > 0 && `, ${failed} not`}
          {open === 0 && failed === 0 && ". All have arrived."}
        </p>
        {done > 0 && open === 0 && (
          <button class={`bare ${styles.clear}`} onClick={clear}>
            Clear
          </button>
        )}
      </div>
      <ul class={styles.uploads}>
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
  const { name, size, state, progress, problem } = upload;
  const open = state === "waiting" || state === "sending";
  return (
    <li data-state={state}>
      <span class={styles.name}>{name}</span>
      <span class="quiet small">{fileSize(size)}</span>
      {state === "sending" && <progress aria-label={`Uploading ${name}`} max={1} value={progress} />}
      <span class="quiet small">{STATE_WORDS[state]}</span>
      {problem !== null && (
        <span class={styles.problem}>
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
    return <p class="notice">No stories yet. A handful of short stories or one novel is a good start.</p>;
  }
  const bytes = stories.reduce((sum, story) => sum + story.size, 0);
  const hidden = all ? 0 : Math.max(stories.length - MAX_LISTED, 0);
  return (
    <>
      <table class={styles.stories}>
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
                  <DeleteIcon />
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

interface DeleteProps {
  api: Api;
  storyKey: string;
  /** Called with what was done and how to undo it. */
  onDeleted: (message: string) => void;
  onClose: () => void;
}

function DeleteStory({ api, storyKey, onDeleted, onClose }: DeleteProps) {
  return (
    <Confirm
      question={`Delete ${storyKey}?`}
      yes="Delete it"
      no="Keep it"
      onClose={onClose}
      onConfirm={async () => onDeleted(await api.deleteStory(storyKey))}
    >
      <p>The next run does not use it. A version that was trained on it stays as it is.</p>
      <p>
        You can bring it back: add the file again, or use the command that is shown once it is deleted. An earlier
        version of the file stays in the bucket.
      </p>
    </Confirm>
  );
}

/** Show what was done. It gets the focus, because the pressed button is gone with its row. */
function DeletedNotice({ message }: { message: string }) {
  const notice = useRef<HTMLParagraphElement>(null);
  useEffect(() => notice.current?.focus(), [message]);
  return (
    <p ref={notice} class="notice" tabIndex={-1}>
      {message}
    </p>
  );
}
