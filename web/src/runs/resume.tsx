import { useState } from "preact/hooks";
import type { Api } from "../api";
import { Confirm } from "../confirm";
import type { RunDetail } from "../contract";

/** Takes a failed run up again where it failed, once the person has read what is kept and what is billed. */
export function ResumeRun({ api, run, onResumed }: { api: Api; run: RunDetail; onResumed: () => void }) {
  const [asking, setAsking] = useState(false);
  const [said, setSaid] = useState("");
  return (
    <>
      <button onClick={() => setAsking(true)}>Go on from where it failed</button>
      <p role="status">{said}</p>
      {asking && (
        <Confirm
          question="Take this run up again?"
          yes="Go on"
          no="Not now"
          onClose={() => setAsking(false)}
          act={async () => {
            setSaid((await api.resumeRun(run.run_id)).message);
            onResumed();
          }}
        >
          <p>
            What it has made is kept: a finished training is not done again, and one that was cut off goes on from its
            last checkpoint. The machines of the steps that are left are billed. Do first what the reason asks for, such
            as raising a quota.
          </p>
        </Confirm>
      )}
    </>
  );
}
