import type { TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api";
import type { Person, Role } from "../contract";
import { ProblemNotice } from "../notices";
import { ROLE_WORDS, ROLES } from "./words";

/** The form that invites a person by e-mail address and role. */
export function InvitationForm({ api, onInvited }: { api: Api; onInvited: (person: Person) => void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  const submit = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const element = event.currentTarget;
    const form = new FormData(element);
    setBusy(true);
    setProblem(null);
    try {
      onInvited(await api.invite(String(form.get("email")).trim(), form.get("role") as Role));
      element.reset();
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };

  return (
    <form class="card invitation" aria-labelledby="invitation" onSubmit={submit}>
      <h2 id="invitation">Invite somebody</h2>
      <label>
        E-mail address
        <input name="email" type="email" required maxLength={128} autocomplete="off" />
      </label>
      <label>
        Role
        <select name="role" defaultValue="reader">
          {ROLES.map((role) => (
            <option key={role} value={role}>
              {ROLE_WORDS[role]}
            </option>
          ))}
        </select>
      </label>
      <p class="quiet small">They get a one-time password by e-mail, valid for seven days.</p>
      <ProblemNotice problem={problem} />
      <div class="answers">
        <button class="primary" disabled={busy}>
          Invite
        </button>
      </div>
    </form>
  );
}
