import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { tryLine } from "../src/keys/words";

/** The arguments as a shell hands them on. */
function argumentsOf(line: string): string[] {
  const script = line.replace(/^curl /, 'printf "%s\\0" ');
  return execFileSync("sh", ["-c", script], { encoding: "utf8" }).split("\0").slice(0, -1);
}

describe("tryLine", () => {
  it("asks for a story in a way that a shell and the API read", () => {
    const given = argumentsOf(tryLine("https://page.example", "sl-1-a_b-c", ["read", "chat"]) ?? "");
    expect(given.slice(0, 2)).toEqual(["-N", "https://page.example/api/v1/chat/completions"]);
    expect(given).toContain("Authorization: Bearer sl-1-a_b-c");
    expect(JSON.parse(given.at(-1) ?? "")).toMatchObject({ stream: true, messages: [{ role: "user" }] });
  });

  it("only reads where the key may not chat, and changes nothing where it may only write", () => {
    const given = argumentsOf(tryLine("https://page.example", "sl-1", ["read"]) ?? "");
    expect(given).toEqual(["-H", "Authorization: Bearer sl-1", "https://page.example/api/runs"]);
    expect(tryLine("https://page.example", "sl-1", ["write"])).toBeNull();
  });
});
