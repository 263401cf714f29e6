import { useState } from "preact/hooks";
import type { Api } from "../api";
import { Confirm } from "../confirm";
import type { RunDetail, Started } from "../contract";
import { runAddress } from "../route";
import { priceInWords } from "./words";

/** Trains on unchanged stories once more, once the person has read what that costs. */
export function TrainAgain({ api, run }: { api: Api; run: RunDetail }) {
  const [asking, setAsking] = useState(false);
  const [started, setStarted] = useState<Started | null>(null);
  return (
    <>
      <button onClick={() => setAsking(true)}>Train again anyway</button>
      <p role="status">
        {started !== null && (
          <>
            {started.message} <a href={runAddress(started.run_id)}>Look at the run that is going</a>
          </>
        )}
      </p>
      {asking && (
        <Confirm
          question="Train on the same stories again?"
          yes="Train again"
          no="Not now"
          onClose={() => setAsking(false)}
          act={async () => setStarted(await api.startRun(true))}
        >
          {run.report && <p>{priceInWords(run.report)}</p>}
          <p>
            The evaluation after it is billed, too. With the same stories and settings the new storyteller will be much
            like the last one; it answers only if it is better.
          </p>
        </Confirm>
      )}
    </>
  );
}
