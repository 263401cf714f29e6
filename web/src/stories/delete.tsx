import { useEffect, useRef } from "preact/hooks";
import type { Api } from "../api";
import { Confirm } from "../confirm";

interface Props {
  api: Api;
  storyKey: string;
  /** Called with what was done and how to undo it. */
  onDeleted: (message: string) => void;
  onClose: () => void;
}

/** The question before a story is deleted. */
export function DeleteStory({ api, storyKey, onDeleted, onClose }: Props) {
  return (
    <Confirm
      question={`Delete ${storyKey}?`}
      yes="Delete it"
      no="Keep it"
      onClose={onClose}
      act={async () => onDeleted(await api.deleteStory(storyKey))}
    >
      <p>
        The next run does without it; a storyteller that has learned from it stays as it is.
      </p>
      <p>
        It can be got back: add the file again, or use the command that you are shown once it is deleted. Its text stays
        in the bucket, out of sight.
      </p>
    </Confirm>
  );
}

/** What was done, read aloud and in reach of the keyboard: the button that was pressed is gone with its row. */
export function DeletedNotice({ message }: { message: string }) {
  const notice = useRef<HTMLParagraphElement>(null);
  useEffect(() => notice.current?.focus(), [message]);
  return (
    <p ref={notice} class="notice" tabIndex={-1}>
      {message}
    </p>
  );
}
