import type { CostKind, MonthlyCosts } from "../../api/contract";
import { dollars } from "../../ui/format";

/** What each kind of cost is called, in the order in which the chart stacks them. */
export const KIND_WORDS: Record<CostKind, string> = {
  training: "training",
  search: "hyperparameter search",
  evaluation: "evaluation",
  endpoint: "hosting",
  batch: "batches",
  notebook: "notebooks",
};

export const KINDS = Object.keys(KIND_WORDS) as CostKind[];

/** Describe in one or two sentences what the month has cost and what is left of the limit. */
export function monthInWords(costs: MonthlyCosts): string {
  const { spent_usd: spent, reserved_usd: reserved, limit_usd: limit, left_usd: left } = costs;
  const held = reserved > 0 ? ` Up to ${dollars(reserved)} more is reserved for what is running now.` : "";
  const sum =
    spent > 0
      ? `${dollars(spent)} spent.`
      : reserved > 0
        ? "Nothing is spent yet."
        : "Nothing was spent in this month.";
  if (limit === null || left === null) return sum + held;
  const rest =
    left > 0
      ? ` ${dollars(left)} of the limit of ${dollars(limit)} is left.`
      : ` The limit of ${dollars(limit)} is used up: nothing that costs starts until the next month or a higher limit.`;
  return sum + held + rest;
}

/** Describe what one day cost: `Nov 3: $1.50 (training $1.25, batches $0.25); $4.00 since the month began`. */
export function dayInWords(day: Day | undefined): string {
  if (day === undefined) return "";
  const parts = KINDS.filter((kind) => (day.spent[kind] ?? 0) > 0).map(
    (kind) => `${KIND_WORDS[kind]} ${dollars(day.spent[kind] ?? 0)}`,
  );
  const added = parts.length === 0 ? "nothing" : `${dollars(day.total)} (${parts.join(", ")})`;
  return `${dayName(day.date)}: ${added}; ${dollars(day.sum)} since the month began`;
}

export type ByKind = Partial<Record<CostKind, number>>;

/** One day of the month: what it cost, and what the month had cost by its end. */
export interface Day {
  /** As `2026-11-03`. */
  date: string;
  spent: ByKind;
  total: number;
  sumByKind: ByKind;
  sum: number;
}

/** Return every day of the month up to `today` (UTC), also the days without costs. */
export function daysOf(costs: MonthlyCosts, today: string): Day[] {
  const added = new Map(costs.by_day.map((day) => [day.day, day.spent_usd as ByKind]));
  const days: Day[] = [];
  let sumByKind: ByKind = {};
  for (const date of datesOf(costs.month)) {
    if (date > today && !added.has(date)) continue;
    const spent = added.get(date) ?? {};
    sumByKind = Object.fromEntries(KINDS.map((kind) => [kind, (sumByKind[kind] ?? 0) + (spent[kind] ?? 0)]));
    days.push({ date, spent, total: sumOf(spent), sumByKind, sum: sumOf(sumByKind) });
  }
  return days;
}

/** Return the number of days of a month such as `2026-11`. */
export function daysIn(month: string): number {
  const [year, number] = month.split("-").map(Number);
  return new Date(Date.UTC(year ?? 0, number ?? 0, 0)).getUTCDate();
}

/** Return the month `by` months later; `"2026-01", -1` → `2025-12`. */
export function monthAfter(month: string, by: number): string {
  const [year, number] = month.split("-").map(Number);
  return new Date(Date.UTC(year ?? 0, (number ?? 1) - 1 + by, 1)).toISOString().slice(0, 7);
}

const monthFormat = new Intl.DateTimeFormat("en", { month: "long", year: "numeric", timeZone: "UTC" });
const dayFormat = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });

/** Write the name of a month: `2026-11` → `November 2026`. */
export function monthName(month: string): string {
  return monthFormat.format(new Date(`${month}-01T00:00:00Z`));
}

/** Write a day: `2026-11-03` → `Nov 3`. */
export function dayName(date: string): string {
  return dayFormat.format(new Date(`${date}T00:00:00Z`));
}

function datesOf(month: string): string[] {
  return Array.from({ length: daysIn(month) }, (_, index) => `${month}-${String(index + 1).padStart(2, "0")}`);
}

function sumOf(parts: ByKind): number {
  return KINDS.reduce((sum, kind) => sum + (parts[kind] ?? 0), 0);
}
