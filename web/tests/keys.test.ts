import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import type { Key } from "../src/api/contract";
import { curlCommand, expiresSoon, expiryInWords, isInactive } from "../src/views/keys/words";

/** Return the arguments of a command as a shell passes them on. */
function argumentsOf(line: string): string[] {
  const script = line.replace(/^curl /, 'printf "%s\\0" ');
  return execFileSync("sh", ["-c", script], { encoding: "utf8" }).split("\0").slice(0, -1);
}

describe("curlCommand", () => {
  it("asks for a story, quoted as a shell and the API need it", () => {
    const given = argumentsOf(curlCommand("https://page.example", "sl-1-a_b-c", ["read", "chat"]) ?? "");
    expect(given.slice(0, 2)).toEqual(["-N", "https://page.example/api/v1/chat/completions"]);
    expect(given).toContain("Authorization: Bearer sl-1-a_b-c");
    expect(JSON.parse(given.at(-1) ?? "")).toMatchObject({ stream: true, messages: [{ role: "user" }] });
  });

  it("only reads if the key may not chat, and does nothing if it may only write", () => {
    const given = argumentsOf(curlCommand("https://page.example", "sl-1", ["read"]) ?? "");
    expect(given).toEqual(["-H", "Authorization: Bearer sl-1", "https://page.example/api/runs"]);
    expect(curlCommand("https://page.example", "sl-1", ["write"])).toBeNull();
  });
});

describe("the expiry of a key", () => {
  const now = Date.parse("2026-09-30T12:00:00.000Z");
  const key = (expires_at: string, revoked_at: string | null = null) => ({ expires_at, revoked_at }) as Key;

  it.each([
    ["2026-12-29T12:00:00.000Z", "Expires in 90 days.", false, false],
    ["2026-10-14T11:00:00.000Z", "Expires in 13 days.", true, false],
    ["2026-10-01T11:00:00.000Z", "Expires within a day.", true, false],
    ["2026-09-30T12:00:00.000Z", null, false, true],
  ])("at %s", (end, words, soon, ended) => {
    if (words !== null) expect(expiryInWords(key(end), now)).toBe(words);
    expect(expiresSoon(key(end), now)).toBe(soon);
    expect(isInactive(key(end), now)).toBe(ended);
  });

  it("has passed if the key is revoked", () => {
    const revoked = key("2026-12-29T12:00:00.000Z", "2026-09-01T12:00:00.000Z");
    expect([expiresSoon(revoked, now), isInactive(revoked, now)]).toEqual([false, true]);
  });
});
