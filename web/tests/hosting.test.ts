// @vitest-environment jsdom
import { h, render } from "preact";
import { describe, expect, it } from "vitest";
import type { Hosting, Status } from "../src/api/contract";
import { wordEstimate } from "../src/ui/format";
import { Facts, usageInWords } from "../src/views/hosting";

const status = (hosting: Partial<Hosting>): Status => ({
  hosting: {
    status: "awake",
    version: null,
    since: null,
    message: null,
    cost_this_month_usd: null,
    price_date: "2026-09",
    ...hosting,
  },
  live: null,
  run: null,
  base_model: { name: "smollm2-135m", id: "HuggingFaceTB/SmolLM2-135M-Instruct" },
  models: [],
  limits: {
    messages: 200,
    prompt_characters: 4000,
    context_tokens: 4096,
    answers_at_once: 4,
    requests_per_minute: null,
    upload_bytes: 50 * 2 ** 20,
    batch_bytes: 20 * 2 ** 20,
    batch_lines: 10_000,
    batches_at_once: 2,
  },
  usage: { tokens_today: 0, daily_tokens: 200_000 },
});

/** Return the facts in the panel by their names. */
function facts(hosting: Partial<Hosting>): Record<string, string> {
  const place = document.createElement("div");
  render(h(Facts, { status: status(hosting) }), place);
  const texts = (tag: string) => [...place.querySelectorAll(tag)].map((element) => element.textContent ?? "");
  const words = texts("dd");
  return Object.fromEntries(texts("dt").map((name, place) => [name, words[place] ?? ""]));
}

describe("Facts", () => {
  it("shows what the month has cost, and on which machine the model is hosted", () => {
    const seen = facts({ cost_this_month_usd: 0.4237, price_date: "2026-09", instance: "ml.g5.xlarge" });
    expect(seen).toMatchObject({ "This month": "$0.42", Machine: "ml.g5.xlarge" });
  });

  it("says that nothing was spent", () => {
    expect(facts({ status: "asleep", cost_this_month_usd: 0 })["This month"]).toBe("$0.00");
  });

  it("shows no sum if the price is not known", () => {
    expect(facts({ cost_this_month_usd: null })).not.toHaveProperty("This month");
    expect(facts({ instance: null })).not.toHaveProperty("Machine");
  });
});

describe("usageInWords", () => {
  it("counts in words, a token about three quarters of one", () => {
    expect(usageInWords({ tokens_today: 1_240, daily_tokens: 200_000 })).toBe("about 930 of 150,000 words");
    expect(wordEstimate(0)).toBe("0");
    expect(wordEstimate(10)).toBe("8");
  });
});
