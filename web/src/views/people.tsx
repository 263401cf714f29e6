import type { TargetedSubmitEvent } from "preact";
import { useCallback, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../api/client";
import type { Person, Role } from "../api/contract";
import { Confirm, ProblemNotice, ScrollingTable } from "../ui/elements";
import { instant } from "../ui/format";
import { usePoll } from "../ui/hooks";
import styles from "./people.module.css";

/** What each role allows, the least first. */
const ROLE_WORDS: Record<Role, string> = {
  reader: "Reader: chats",
  author: "Author: chats, works with stories, runs and versions, has keys",
  owner: "Owner: everything, and manages people",
};
const ROLES = Object.keys(ROLE_WORDS) as Role[];

const POLL_SECONDS = 60;

/** Show who may sign in, to invite, remove and change roles, and who has changed what. */
export function People({ api }: { api: Api }) {
  const list = usePoll(
    useCallback((signal: AbortSignal) => api.people(signal), [api]),
    () => POLL_SECONDS,
  );
  const [removing, setRemoving] = useState<Person | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [message, setMessage] = useState("");

  const changeRole = async (person: Person, role: Role) => {
    setProblem(null);
    try {
      await api.changeRole(person.id, role);
      setMessage(`${person.email} is ${role} now. The change takes effect within a minute.`);
    } catch (error) {
      setProblem(problemOf(error));
    }
    list.reload();
  };

  return (
    <>
      <h1>People</h1>
      <p class="quiet">Only people whom you invite can sign in. A change takes effect within a minute.</p>
      <InvitationForm
        api={api}
        onInvited={(person) => {
          setMessage(`${person.email} is invited.`);
          list.reload();
        }}
      />
      <ProblemNotice problem={problem ?? list.problem} />
      <p role="status">{message}</p>
      <h2 id="people-title">Who may sign in</h2>
      <ul class="list" aria-labelledby="people-title">
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
          onConfirm={async () => {
            await api.removePerson(removing.id);
            setMessage(`${removing.email} is removed.`);
            list.reload();
          }}
        >
          <p>
            Their sign-in and their API keys are refused within a minute, for good. Their stories, runs and
            versions stay: these belong to everybody.
          </p>
        </Confirm>
      )}
    </>
  );
}

function InvitationForm({ api, onInvited }: { api: Api; onInvited: (person: Person) => void }) {
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
    <form class="card form" aria-labelledby="invitation" onSubmit={submit}>
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
      <div class="buttons">
        <button class="primary" disabled={busy}>
          Invite
        </button>
      </div>
    </form>
  );
}

interface CardProps {
  person: Person;
  onRole: (role: Role) => void;
  onRemove: () => void;
}

function PersonCard({ person, onRole, onRemove }: CardProps) {
  return (
    <li class={`card ${styles.person}`}>
      <div class="head">
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
      <p class="quiet small">{standing(person)}</p>
    </li>
  );
}

function standing(person: Person): string {
  const invited = person.invited_at === null ? "" : `Invited ${instant(person.invited_at)}`;
  if (!person.enabled) return `${invited}; disabled in Cognito's console.`;
  return person.has_signed_in ? `${invited}.` : `${invited}; has not signed in yet.`;
}

function AuditTrail({ api }: { api: Api }) {
  const trail = usePoll(
    useCallback((signal: AbortSignal) => api.auditTrail(signal), [api]),
    () => POLL_SECONDS,
  );
  return (
    <section aria-labelledby="audit-title">
      <h2 id="audit-title">Audit trail</h2>
      <p class="quiet">
        Who changed what: the newest 50 entries. <code>storyloom audit</code> lists all of the last year.
      </p>
      <ProblemNotice problem={trail.problem} />
      {trail.value?.length === 0 && <p class="quiet">Nothing yet.</p>}
      {trail.value !== undefined && trail.value.length > 0 && (
        <ScrollingTable label="Entries of the audit trail">
          <table class={styles.audit}>
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">Did</th>
                <th scope="col">To</th>
                <th scope="col">Status</th>
              </tr>
            </thead>
            <tbody>
              {trail.value.map((entry) => (
                <tr key={entry.entry_id}>
                  <td>{instant(entry.at)}</td>
                  <td>{entry.principal_name}</td>
                  <td>
                    <code>{entry.action}</code>
                  </td>
                  <td>{entry.object}</td>
                  <td>{entry.count === 1 ? entry.status : `${entry.status}, ${entry.count} times`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollingTable>
      )}
    </section>
  );
}
