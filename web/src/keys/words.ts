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

const DAY_MS = 86_400_000;
/** From this many days before its end on, a key is warned of. */
const SOON_DAYS = 14;

function daysLeft(key: Key, now: number): number {
  return (Date.parse(key.expires_at) - now) / DAY_MS;
}

/** Whether a key works no longer: it was revoked, or its time is over. */
export function hasEnded(key: Key, now = Date.now()): boolean {
  return key.revoked_at !== null || daysLeft(key, now) <= 0;
}

/** Whether it is time to make the next key. */
export function endsSoon(key: Key, now = Date.now()): boolean {
  return !hasEnded(key, now) && daysLeft(key, now) < SOON_DAYS;
}

/** How long a key still works. */
export function endInWords(key: Key, now = Date.now()): string {
  const days = Math.floor(daysLeft(key, now));
  return days < 1 ? "Ends within a day." : `Ends in ${counted(days, "day", "days")}.`;
}

/** Where a key comes from and whether it is in use. */
export function historyInWords(key: Key): string {
  const used = key.last_used_on === null ? "never used" : `last used on ${key.last_used_on}`;
  const made = `Made ${instant(key.created_at)} by ${key.created_by_email}, ${used}`;
  if (key.revoked_at !== null) return `${made}; revoked ${instant(key.revoked_at)}.`;
  return hasEnded(key) ? `${made}; ended ${instant(key.expires_at)}.` : `${made}.`;
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
