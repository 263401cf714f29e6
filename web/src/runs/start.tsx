import { useState } from "preact/hooks";
import type { Api } from "../api";
import { Confirm } from "../confirm";
import type { Started } from "../contract";
import { runAddress } from "../route";

/** Starts a run by hand, once the person has read that it costs something. */
export function StartRun({ api, going, onStarted }: { api: Api; going: boolean; onStarted: () => void }) {
  const [asking, setAsking] = useState(false);
  const [started, setStarted] = useState<Started | null>(null);
  return (
    <>
      <div>
        <button onClick={() => setAsking(true)}>Start a run now</button>
      </div>
      <p role="status">
        {started !== null && (
          <>
            {started.message} <a href={runAddress(started.run_id)}>Look at the run that is going</a>
          </>
        )}
      </p>
      {asking && (
        <Confirm
          question="Start a run with all your stories?"
          yes={going ? "Start one after it" : "Start it"}
          no="Not now"
          onClose={() => setAsking(false)}
          act={async () => {
            setStarted(await api.startRun());
            onStarted();
          }}
        >
          <p>
            It reads every story and trains, and the machine that trains is billed: the report of a run like it says
            about how much.
          </p>
          {going && <p>A run is going already. One more follows it.</p>}
          <p>After you have added stories there is no need to: then one starts by itself after a while.</p>
        </Confirm>
      )}
    </>
  );
}
