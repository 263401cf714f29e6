import { useCallback, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api";
import { Confirm } from "../confirm";
import type { Person, Role } from "../contract";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";
import { AuditTrail } from "./audit-trail";
import { InvitationForm } from "./invitation";
import { ROLE_WORDS, ROLES, stateInWords } from "./words";

/** The view that manages who may sign in, and shows the audit trail. */
export function People({ api }: { api: Api }) {
  const list = usePoll(
    useCallback((signal: AbortSignal) => api.people(signal), [api]),
    () => 60,
  );
  const [removing, setRemoving] = useState<Person | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [said, setSaid] = useState("");

  const changeRole = async (person: Person, role: Role) => {
    setProblem(null);
    try {
      await api.changeRole(person.id, role);
      setSaid(`${person.email} is ${role} now. The change takes effect within a minute.`);
    } catch (error) {
      setProblem(problemOf(error));
    }
    list.reload();
  };

  return (
    <>
      <h1>People</h1>
      <p class="quiet lede">Nobody can sign up: you invite people. A change takes effect within a minute.</p>
      <InvitationForm
        api={api}
        onInvited={(person) => {
          setSaid(`${person.email} is invited.`);
          list.reload();
        }}
      />
      <ProblemNotice problem={problem ?? list.problem} />
      <p role="status">{said}</p>
      <h2>Who may sign in</h2>
      <ul class="people">
        {list.value?.map((person) => (
          <PersonCard
            key={person.id}
            person={person}
            onRole={(role) => void changeRole(person, role)}
            onRemove={() => setRemoving(person)}
          />
        ))}
      </ul>
      <AuditTrail api={api} />
      {removing !== null && (
        <Confirm
          question={`Remove ${removing.email}?`}
          yes="Remove"
          no="Keep"
          onClose={() => setRemoving(null)}
          act={async () => {
            await api.removePerson(removing.id);
            setSaid(`${removing.email} is removed.`);
            list.reload();
          }}
        >
          <p>
            Their sign-in and their API keys are refused within a minute, for good. What they made stays: stories,
            runs and versions belong to everybody.
          </p>
        </Confirm>
      )}
    </>
  );
}

interface CardProps {
  person: Person;
  onRole: (role: Role) => void;
  onRemove: () => void;
}

function PersonCard({ person, onRole, onRemove }: CardProps) {
  return (
    <li class="card">
      <div class="key-head">
        <h3>
          {person.email}
          {person.you && <span class="quiet"> (you)</span>}
        </h3>
        <button class="bare" aria-label={`Remove ${person.email}`} onClick={onRemove}>
          Remove
        </button>
      </div>
      <label>
        Role
        <select
          aria-label={`Role of ${person.email}`}
          value={person.role ?? ""}
          onChange={(event) => onRole(event.currentTarget.value as Role)}
        >
          {person.role === null && <option value="">None: may do nothing</option>}
          {ROLES.map((role) => (
            <option key={role} value={role}>
              {ROLE_WORDS[role]}
            </option>
          ))}
        </select>
      </label>
      <p class="quiet small">{stateInWords(person)}</p>
    </li>
  );
}
