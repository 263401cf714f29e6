import { useState } from "preact/hooks";
import type { Api } from "../api";
import { Confirm } from "../confirm";
import type { RunDetail } from "../contract";

/** Resumes a failed run where it failed, once the person has read what is kept and what is billed. */
export function ResumeRun({ api, run, onResumed }: { api: Api; run: RunDetail; onResumed: () => void }) {
  const [asking, setAsking] = useState(false);
  const [said, setSaid] = useState("");
  return (
    <>
      <button onClick={() => setAsking(true)}>Resume from where it failed</button>
      <p role="status">{said}</p>
      {asking && (
        <Confirm
          question="Resume this run?"
          yes="Resume"
          no="Not now"
          onClose={() => setAsking(false)}
          act={async () => {
            setSaid((await api.resumeRun(run.run_id)).message);
            onResumed();
          }}
        >
          <p>
            What it has made is kept: a finished training is not repeated, and one that was cut off resumes from its last
            checkpoint. The machines of the remaining steps are billed. First do what the reason asks for, such as
            raising a quota.
          </p>
        </Confirm>
      )}
    </>
  );
}
