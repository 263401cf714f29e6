import type { Hosting, Usage } from "./contract";
import { count, dollars } from "./format";

/** A token is about three quarters of a word. */
const WORDS_A_TOKEN = 0.75;

/** How many words some tokens are, about; `1,234` tokens → `930`. */
export function wordsOf(tokens: number): string {
  const words = tokens * WORDS_A_TOKEN;
  return count(words < 100 ? Math.round(words) : Math.round(words / 10) * 10);
}

/** What the person has used of the day. */
export function usageInWords({ tokens_today, daily_tokens }: Usage): string {
  return `about ${wordsOf(tokens_today)} of ${wordsOf(daily_tokens)} words`;
}

/** What everything has cost this month and what goes on to cost, for somebody who fears a bill. */
export function costInWords(hosting: Hosting): string {
  const { cost_this_month_usd: cost, status, price_date } = hosting;
  const now = status === "awake" || status === "waking" ? " Its machine is billed until it sleeps." : "";
  if (cost === null) return `What this month has cost is not known: a machine has no known price.${now}`;
  if (cost === 0) return `Nothing was spent this month.${now}`;
  const prices = price_date === "" ? "" : ` (prices of ${price_date})`;
  return `${dollars(cost)} spent since the month began, on everything together${prices}.${now}`;
}
