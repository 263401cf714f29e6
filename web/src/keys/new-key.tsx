import type { TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api";
import type { MadeKey } from "../contract";
import { ProblemNotice } from "../notices";
import { SCOPE_WORDS, SCOPES } from "./words";

/** The API's own bounds, so that the browser can say them before anything is sent. */
const LONGEST_NAME = 64;
const REQUESTS_A_MINUTE = { least: 1, usual: 60, most: 600 };
const DAYS = { least: 1, usual: 90, most: 365 };

/** Asks for a key's name, what it may do and how often. */
export function NewKeyForm({ api, onMade }: { api: Api; onMade: (key: MadeKey) => void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  const submit = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const element = event.currentTarget;
    const form = new FormData(element);
    const scopes = SCOPES.filter((scope) => form.getAll("scopes").includes(scope));
    if (scopes.length === 0) {
      setProblem({ message: "A key that may do nothing is of no use.", cure: "Choose at least one thing it may do." });
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      const name = String(form.get("name")).trim();
      onMade(await api.makeKey({ name, scopes, requests_per_minute: Number(form.get("rate")), days: Number(form.get("days")) }));
      element.reset();
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };

  return (
    <form class="card new-key" aria-labelledby="new-key" onSubmit={submit}>
      <h2 id="new-key">A new key</h2>
      <label>
        Name, to know it by
        <input name="name" required maxLength={LONGEST_NAME} pattern=".*\S.*" autocomplete="off" placeholder="nightly" />
      </label>
      <fieldset>
        <legend>It may</legend>
        {SCOPES.map((scope) => (
          <label key={scope} class="check">
            <input type="checkbox" name="scopes" value={scope} defaultChecked={scope === "chat"} />
            {SCOPE_WORDS[scope]}
          </label>
        ))}
      </fieldset>
      <label>
        Requests a minute, at most
        <input
          name="rate"
          type="number"
          required
          min={REQUESTS_A_MINUTE.least}
          max={REQUESTS_A_MINUTE.most}
          defaultValue={String(REQUESTS_A_MINUTE.usual)}
        />
      </label>
      <label>
        Days until it ends
        <input name="days" type="number" required min={DAYS.least} max={DAYS.most} defaultValue={String(DAYS.usual)} />
      </label>
      <ProblemNotice problem={problem} />
      <div class="answers">
        <button class="primary" disabled={busy}>
          Make the key
        </button>
      </div>
    </form>
  );
}
