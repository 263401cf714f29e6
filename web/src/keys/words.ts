import type { Key, KeyScope } from "../contract";
import { counted, instant } from "../format";

/** What a scope allows, for somebody who has never met the word. */
export const SCOPE_WORDS: Record<KeyScope, string> = {
  chat: "ask your storyteller",
  read: "look at stories, runs and versions",
  write: "add and delete stories, start and stop runs, decide on versions",
};

export const SCOPES = Object.keys(SCOPE_WORDS) as KeyScope[];

/** What a key may do, as one sentence. */
export function mayInWords({ scopes, requests_per_minute }: Pick<Key, "scopes" | "requests_per_minute">): string {
  const may = scopes.map((scope) => SCOPE_WORDS[scope]).join("; ");
  return `May ${may}; ${counted(requests_per_minute, "request", "requests")} a minute.`;
}

/** Where a key comes from and whether it is in use. */
export function historyInWords(key: Key): string {
  const used = key.last_used_on === null ? "never used" : `last used on ${key.last_used_on}`;
  const made = `Made ${instant(key.created_at)} by ${key.created_by_email}, ${used}`;
  return key.revoked_at === null ? `${made}.` : `${made}; revoked ${instant(key.revoked_at)}.`;
}

/** A line for a terminal that tries a key: a story as it is written, or a list; null where it may only change things. */
export function tryLine(origin: string, key: string, scopes: readonly KeyScope[]): string | null {
  const who = `-H "Authorization: Bearer ${key}"`;
  if (scopes.includes("chat")) {
    const body = '{"stream": true, "messages": [{"role": "user", "content": "A short story, please."}]}';
    const headers = `${who} -H "Content-Type: application/json" -H "Prefer: wait=600"`;
    return `curl -N ${origin}/api/v1/chat/completions ${headers} -d '${body}'`;
  }
  return scopes.includes("read") ? `curl ${who} ${origin}/api/runs` : null;
}
