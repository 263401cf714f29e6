import type { Key, KeyScope } from "../../api/contract";
import { counted, instant } from "../../ui/format";

/** What each scope allows. */
export const SCOPE_WORDS: Record<KeyScope, string> = {
  chat: "ask your storyteller",
  read: "look at stories, runs and versions",
  write: "add and delete stories, start and stop runs, decide on versions",
};

export const SCOPES = Object.keys(SCOPE_WORDS) as KeyScope[];

/** Describe in one sentence what a key may do. */
export function permissionsInWords({ scopes, requests_per_minute }: Pick<Key, "scopes" | "requests_per_minute">): string {
  const may = scopes.map((scope) => `${SCOPE_WORDS[scope]} (${scope})`).join("; ");
  return `May ${may}; ${counted(requests_per_minute, "request", "requests")} per minute.`;
}

const DAY_MS = 86_400_000;
/** A key that expires within this many days is warned of. */
const WARNING_DAYS = 14;

function daysLeft(key: Key, now: number): number {
  return (Date.parse(key.expires_at) - now) / DAY_MS;
}

/** Tell whether a key no longer works: it is revoked or has expired. */
export function isInactive(key: Key, now = Date.now()): boolean {
  return key.revoked_at !== null || daysLeft(key, now) <= 0;
}

/** Tell whether a key works and expires so soon that a new one is due. */
export function expiresSoon(key: Key, now = Date.now()): boolean {
  return !isInactive(key, now) && daysLeft(key, now) < WARNING_DAYS;
}

/** Describe how long a key still works. */
export function expiryInWords(key: Key, now = Date.now()): string {
  const days = Math.floor(daysLeft(key, now));
  return days < 1 ? "Expires within a day." : `Expires in ${counted(days, "day", "days")}.`;
}

/** Describe who created a key, when it was last used, and when it ended if it has. */
export function historyInWords(key: Key): string {
  const used = key.last_used_on === null ? "never used" : `last used on ${key.last_used_on}`;
  const created = `Created ${instant(key.created_at)} by ${key.created_by_email}, ${used}`;
  if (key.revoked_at !== null) return `${created}; revoked ${instant(key.revoked_at)}.`;
  return isInactive(key) ? `${created}; expired ${instant(key.expires_at)}.` : `${created}.`;
}

/** Return a command for a terminal that tries a key by a chat or a list; null if the key may only change things. */
export function curlCommand(origin: string, key: string, scopes: readonly KeyScope[]): string | null {
  const authorization = `-H "Authorization: Bearer ${key}"`;
  if (scopes.includes("chat")) {
    const body = '{"stream": true, "messages": [{"role": "user", "content": "A short story, please."}]}';
    const headers = `${authorization} -H "Content-Type: application/json" -H "Prefer: wait=600"`;
    return `curl -N ${origin}/api/v1/chat/completions ${headers} -d '${body}'`;
  }
  return scopes.includes("read") ? `curl ${authorization} ${origin}/api/runs` : null;
}
