import type { TargetedSubmitEvent } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Api, type Problem, problemOf } from "../../api/client";
import type { CreatedKey, Key, Myself, Usage } from "../../api/contract";
import { Confirm, CopyButton, ProblemNotice } from "../../ui/elements";
import { counted, wordEstimate } from "../../ui/format";
import { usePoll } from "../../ui/hooks";
import styles from "./keys.module.css";
import {
  curlCommand,
  expiresSoon,
  expiryInWords,
  historyInWords,
  isInactive,
  permissionsInWords,
  SCOPE_WORDS,
  SCOPES,
} from "./words";

const POLL_SECONDS = 60;

/** The API's bounds, so that the browser can check a form before it is sent. */
const MAX_NAME_CHARACTERS = 64;
const REQUESTS_PER_MINUTE = { min: 1, default: 60, max: 600 };
const DAYS = { min: 1, default: 90, max: 365 };

/** Show the API keys of programs, to create and to revoke. */
export function Keys({ api, me, usage }: { api: Api; me: Myself; usage: Usage | undefined }) {
  const list = usePoll(
    useCallback((signal: AbortSignal) => api.keys(signal), [api]),
    () => POLL_SECONDS,
  );
  const [created, setCreated] = useState<CreatedKey | null>(null);
  const [revoking, setRevoking] = useState<Key | null>(null);
  const [message, setMessage] = useState("");
  const active = list.value?.filter((key) => !isInactive(key));
  const inactive = list.value?.filter((key) => isInactive(key)) ?? [];
  const expiring = active?.filter((key) => key.created_by === me.id && expiresSoon(key)) ?? [];

  return (
    <>
      <h1>API keys</h1>
      <p class="quiet">
        With a key, a program of yours can talk with your storyteller as you do here. Anybody who has the key can
        use it: keep it like a password. A key expires, and it stops working if you lose your access.
        {usage !== undefined &&
          ` What your keys use counts towards your daily limit of about ${wordEstimate(usage.daily_tokens)} words.`}
      </p>
      {expiring.length > 0 && (
        <div class="notice" role="note">
          <p>
            {expiring.length === 1 ? `${expiring[0]?.name} expires soon.` : `${expiring.length} of your keys expire soon.`}{" "}
            Create a new key and give it to the program before that: the life of a key cannot be extended.
          </p>
        </div>
      )}
      {created !== null && <CreatedKeyCard created={created} onDone={() => setCreated(null)} />}
      <NewKeyForm
        api={api}
        onCreated={(key) => {
          setCreated(key);
          list.reload();
        }}
      />
      <ProblemNotice problem={list.problem} />
      <p role="status">{message}</p>
      <h2>Active keys</h2>
      {active?.length === 0 && <p class="quiet">None yet.</p>}
      {active !== undefined && active.length > 0 && <KeyList keys={active} onRevoke={setRevoking} />}
      {inactive.length > 0 && (
        <details>
          <summary>{counted(inactive.length, "expired or revoked key", "expired or revoked keys")}</summary>
          <KeyList keys={inactive} />
        </details>
      )}
      {revoking !== null && (
        <Confirm
          question={`Revoke ${revoking.name}?`}
          yes="Revoke it"
          no="Keep it"
          onClose={() => setRevoking(null)}
          onConfirm={async () => {
            await api.revokeKey(revoking.key_id);
            setMessage(`${revoking.name} is revoked.`);
            list.reload();
          }}
        >
          <p>
            A program that uses it is refused from its next request on. A revoked key never works again; you can
            create a new one at any time.
          </p>
        </Confirm>
      )}
    </>
  );
}

function KeyList({ keys, onRevoke }: { keys: Key[]; onRevoke?: (key: Key) => void }) {
  return (
    <ul class="list">
      {keys.map((key) => (
        <li key={key.key_id} class={`card ${styles.key}`}>
          <div class="head">
            <h3>{key.name}</h3>
            {onRevoke !== undefined && (
              <button class="bare" aria-label={`Revoke ${key.name}`} onClick={() => onRevoke(key)}>
                Revoke
              </button>
            )}
          </div>
          <p>
            {permissionsInWords(key)} {isInactive(key) ? "" : <strong>{expiryInWords(key)}</strong>}
          </p>
          <p class="quiet small">
            <code>{key.key_id}</code>. {historyInWords(key)}
          </p>
        </li>
      ))}
    </ul>
  );
}

function CreatedKeyCard({ created, onDone }: { created: CreatedKey; onDone: () => void }) {
  const card = useRef<HTMLElement>(null);
  // The card appears above the form: without the focus a person without a mouse would have to search for it.
  useEffect(() => card.current?.focus(), [created]);
  const command = curlCommand(location.origin, created.key, created.scopes);
  return (
    <section ref={card} class={`card ${styles.created}`} aria-labelledby="created-key" tabIndex={-1}>
      <h2 id="created-key">The key of {created.name}</h2>
      <p>
        <strong>It is shown only now.</strong> Copy it to where your program reads it.
      </p>
      <CopyableText name="Key" text={created.key} />
      {command !== null && (
        <>
          <p>To try it, paste this command into a terminal. It contains the key: show it to nobody.</p>
          <CopyableText name="Command" text={command} />
        </>
      )}
      <div class="buttons">
        <button onClick={onDone}>Hide the key</button>
      </div>
    </section>
  );
}

function CopyableText({ name, text }: { name: string; text: string }) {
  return (
    <div class={styles.copyable}>
      <pre tabIndex={0} role="region" aria-label={name}>
        {text}
      </pre>
      <CopyButton text={text} label={`Copy the ${name.toLowerCase()}`} />
    </div>
  );
}

function NewKeyForm({ api, onCreated }: { api: Api; onCreated: (key: CreatedKey) => void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  const submit = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const element = event.currentTarget;
    const form = new FormData(element);
    const scopes = SCOPES.filter((scope) => form.getAll("scopes").includes(scope));
    if (scopes.length === 0) {
      setProblem({ message: "The key has no scope, so it could do nothing.", cure: "Choose at least one." });
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      const name = String(form.get("name")).trim();
      const [rate, days] = [Number(form.get("rate")), Number(form.get("days"))];
      onCreated(await api.makeKey({ name, scopes, requests_per_minute: rate, days }));
      element.reset();
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };

  return (
    <form class="card form" aria-labelledby="new-key" onSubmit={submit}>
      <h2 id="new-key">Create a key</h2>
      <label>
        Name, such as the program that will use it
        <input
          name="name"
          required
          maxLength={MAX_NAME_CHARACTERS}
          pattern=".*\S.*"
          autocomplete="off"
          placeholder="nightly"
        />
      </label>
      <fieldset>
        <legend>What it may do (scopes)</legend>
        {SCOPES.map((scope) => (
          <label key={scope}>
            <input type="checkbox" name="scopes" value={scope} defaultChecked={scope === "chat"} />
            <span>
              {SCOPE_WORDS[scope]} <span class="quiet">({scope})</span>
            </span>
          </label>
        ))}
      </fieldset>
      <label>
        Requests per minute, at most
        <input
          name="rate"
          type="number"
          required
          min={REQUESTS_PER_MINUTE.min}
          max={REQUESTS_PER_MINUTE.max}
          defaultValue={String(REQUESTS_PER_MINUTE.default)}
        />
      </label>
      <label>
        Days until it expires
        <input
          name="days"
          type="number"
          required
          min={DAYS.min}
          max={DAYS.max}
          defaultValue={String(DAYS.default)}
        />
      </label>
      <ProblemNotice problem={problem} />
      <div class="buttons">
        <button class="primary" disabled={busy}>
          Create the key
        </button>
      </div>
    </form>
  );
}
