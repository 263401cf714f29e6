import { useState } from "preact/hooks";
import type { Api } from "../api";
import { Confirm } from "../confirm";
import type { RunDetail } from "../contract";
import { spentInWords } from "./words";

/** Stops a run that is going, once the person has read what is lost and what is spent. */
export function StopRun({ api, run, onStopping }: { api: Api; run: RunDetail; onStopping: () => void }) {
  const [asking, setAsking] = useState(false);
  const [said, setSaid] = useState("");
  return (
    <>
      <button onClick={() => setAsking(true)}>Stop this run</button>
      <p role="status">{said}</p>
      {asking && (
        <Confirm
          question="Stop this run?"
          yes="Stop it"
          no="Let it go on"
          onClose={() => setAsking(false)}
          act={async () => {
            setSaid((await api.stopRun(run.run_id)).message);
            onStopping();
          }}
        >
          <p>{spentInWords(run)}</p>
          <p>
            No version comes of it now. It can be resumed where it was, or from its last checkpoint if it was training.
            Your stories stay as they are, and whatever answers now still answers.
          </p>
        </Confirm>
      )}
    </>
  );
}
