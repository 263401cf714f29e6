import { useCallback, useState } from "preact/hooks";
import type { Api } from "../api";
import { Confirm } from "../confirm";
import type { Key, MadeKey, Myself, Usage } from "../contract";
import { counted } from "../format";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";
import { wordsOf } from "../usage";
import { MadeKeyCard } from "./made-key";
import { NewKeyForm } from "./new-key";
import { endInWords, endsSoon, hasEnded, historyInWords, mayInWords } from "./words";

/** The keys of programs: make one, see those there are, revoke one. */
export function Keys({ api, me, usage }: { api: Api; me: Myself; usage: Usage | undefined }) {
  const list = usePoll(
    useCallback((signal: AbortSignal) => api.keys(signal), [api]),
    () => 60,
  );
  const [made, setMade] = useState<MadeKey | null>(null);
  const [revoking, setRevoking] = useState<Key | null>(null);
  const [said, setSaid] = useState("");
  const working = list.value?.filter((key) => !hasEnded(key));
  const ended = list.value?.filter((key) => hasEnded(key)) ?? [];
  const soon = working?.filter((key) => key.created_by === me.id && endsSoon(key)) ?? [];

  return (
    <>
      <h1>API keys</h1>
      <p class="quiet lede">
        With a key, a program of yours can talk with your storyteller as you do here. Whoever has the key can do what
        the key may: keep it like a password. A key ends by itself, and with your own sign-in.
        {usage !== undefined && ` What your keys use counts in your own day of about ${wordsOf(usage.daily_tokens)} words.`}
      </p>
      {soon.length > 0 && (
        <div class="notice" role="note">
          <p>
            {soon.length === 1 ? `${soon[0]?.name} ends soon.` : `${soon.length} of your keys end soon.`} Make a new key
            and give it to the program before that: no key is prolonged.
          </p>
        </div>
      )}
      {made !== null && <MadeKeyCard made={made} onDone={() => setMade(null)} />}
      <NewKeyForm
        api={api}
        onMade={(key) => {
          setMade(key);
          list.reload();
        }}
      />
      <ProblemNotice problem={list.problem} />
      <p role="status">{said}</p>
      <h2>Keys that work</h2>
      {working?.length === 0 && <p class="quiet">None yet.</p>}
      {working !== undefined && working.length > 0 && <KeyList keys={working} onRevoke={setRevoking} />}
      {ended.length > 0 && (
        <details>
          <summary>{counted(ended.length, "key that has ended", "keys that have ended")}</summary>
          <KeyList keys={ended} />
        </details>
      )}
      {revoking !== null && (
        <Confirm
          question={`Revoke ${revoking.name}?`}
          yes="Revoke it"
          no="Keep it"
          onClose={() => setRevoking(null)}
          act={async () => {
            await api.revokeKey(revoking.key_id);
            setSaid(`${revoking.name} works no longer.`);
            list.reload();
          }}
        >
          <p>
            A program that uses it is refused from its next request on. A revoked key never works again; you can make
            a new one at any time.
          </p>
        </Confirm>
      )}
    </>
  );
}

function KeyList({ keys, onRevoke }: { keys: Key[]; onRevoke?: (key: Key) => void }) {
  return (
    <ul class="keys">
      {keys.map((key) => (
        <li key={key.key_id} class="card">
          <div class="key-head">
            <h3>{key.name}</h3>
            {onRevoke !== undefined && (
              <button class="bare" aria-label={`Revoke ${key.name}`} onClick={() => onRevoke(key)}>
                Revoke
              </button>
            )}
          </div>
          <p>
            {mayInWords(key)} {hasEnded(key) ? "" : <strong>{endInWords(key)}</strong>}
          </p>
          <p class="quiet small">
            <code>{key.key_id}</code>. {historyInWords(key)}
          </p>
        </li>
      ))}
    </ul>
  );
}
