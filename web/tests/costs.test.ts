import { describe, expect, it } from "vitest";
import type { MonthlyCosts } from "../src/api/contract";
import { dayInWords, daysIn, daysOf, monthAfter, monthInWords, monthName } from "../src/views/costs/words";

const month = (costs: Partial<MonthlyCosts> = {}): MonthlyCosts => ({
  month: "2026-11",
  spent_usd: 2.5,
  reserved_usd: 0,
  limit_usd: 20,
  left_usd: 17.5,
  by_kind: [
    { kind: "training", spent_usd: 1.5, reserved_usd: 0 },
    { kind: "endpoint", spent_usd: 1, reserved_usd: 0 },
  ],
  by_day: [
    { day: "2026-11-02", spent_usd: { endpoint: 0.75 } },
    { day: "2026-11-04", spent_usd: { training: 1.5, endpoint: 0.25 } },
  ],
  prices: [],
  unpriced: [],
  prices_read_at: null,
  prices_failure: null,
  ...costs,
});

describe("daysOf", () => {
  it("returns every day until today, with the sum of the month by its end", () => {
    const days = daysOf(month(), "2026-11-05");
    expect(days.map(({ date, total, sum }) => [date.slice(8), total, sum])).toEqual([
      ["01", 0, 0],
      ["02", 0.75, 0.75],
      ["03", 0, 0.75],
      ["04", 1.75, 2.5],
      ["05", 0, 2.5],
    ]);
    expect(days.at(-1)?.sumByKind).toMatchObject({ training: 1.5, endpoint: 1 });
    expect(days.at(-1)?.sum).toBeCloseTo(month().spent_usd);
  });

  it("returns all days of a past month", () => {
    expect(daysOf(month(), "2026-12-24")).toHaveLength(30);
  });

  it("includes costs of a day that has not begun by this clock", () => {
    const days = daysOf(month(), "2026-11-01");
    expect(days.at(-1)?.sum).toBe(2.5);
  });
});

describe("monthInWords", () => {
  it("says what is left of the limit", () => {
    expect(monthInWords(month())).toBe("$2.50 spent. $17.50 of the limit of $20.00 is left.");
  });

  it("says what is reserved beside what is spent", () => {
    expect(monthInWords(month({ reserved_usd: 1.25, left_usd: 16.25 }))).toContain(
      "Up to $1.25 more is reserved for what is running now.",
    );
    expect(monthInWords(month({ spent_usd: 0, reserved_usd: 1.25 }))).toContain("Nothing is spent yet.");
  });

  it("says that a limit is used up, and what that means", () => {
    expect(monthInWords(month({ left_usd: 0 }))).toContain("nothing that costs starts until the next month");
  });

  it("says that nothing was spent", () => {
    const empty = month({ spent_usd: 0, limit_usd: null, left_usd: null });
    expect(monthInWords(empty)).toBe("Nothing was spent in this month.");
  });
});

describe("months and days", () => {
  it("crosses the end of a year", () => {
    expect(monthAfter("2026-01", -1)).toBe("2025-12");
    expect(monthAfter("2026-12", 1)).toBe("2027-01");
    expect(monthName("2026-11")).toBe("November 2026");
  });

  it("counts the days of a month", () => {
    expect(["2026-02", "2028-02", "2026-11", "2026-12"].map(daysIn)).toEqual([28, 29, 30, 31]);
  });

  it("describes a day in words", () => {
    const [, second, third] = daysOf(month(), "2026-11-05");
    expect(second && dayInWords(second)).toBe(
      "Nov 2: $0.75 (hosting $0.75); $0.75 since the month began",
    );
    expect(third && dayInWords(third)).toBe("Nov 3: nothing; $0.75 since the month began");
  });
});
