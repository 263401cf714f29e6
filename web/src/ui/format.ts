/** Numbers, times and sizes as people write them. */

const LOCALE = "en";

const number = new Intl.NumberFormat(LOCALE);
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" });

/** Write a number with separators: `12345` → `12,345`. */
export function count(value: number): string {
  return number.format(value);
}

/** Write a number with its noun: `1, "story", "stories"` → `1 story`. */
export function counted(value: number, one: string, many: string): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Write a duration given in seconds: `0.4` → `under 1 s`, `200` → `3 min 20 s`, `4000` → `1 h 6 min`. */
export function duration(seconds: number): string {
  if (seconds < 1) return "under 1 s";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return joined(Math.floor(whole / 60), "min", whole % 60, "s");
  return joined(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** Write a size in bytes: `2048` → `2 KB`, `1572864` → `1.5 MB`. */
export function fileSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const [value, unit] = bytes < 1024 ** 2 ? [bytes / 1024, "KB"] : [bytes / 1024 ** 2, "MB"];
  return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ${unit}`;
}

/** Write a moment: today only its time, otherwise with its date. */
export function instant(iso: string, now = new Date()): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  if (date.toDateString() === now.toDateString()) return `today, ${clock.format(date)}`;
  return `${day.format(date)}, ${clock.format(date)}`;
}

/** Write a sum in dollars; a sum below a cent never reads as free. */
export function dollars(value: number): string {
  if (value > 0 && value < 0.01) return "less than $0.01";
  return `$${value.toFixed(2)}`;
}

/** Write the name of a language: `en` → `English`. */
export function language(code: string): string {
  try {
    return new Intl.DisplayNames(LOCALE, { type: "language" }).of(code) ?? code;
  } catch {
    return code; // this browser has no name for it
  }
}

/** A token is about three quarters of a word. */
const WORDS_PER_TOKEN = 0.75;

/** Estimate how many words some tokens are: `1234` → `930`. */
export function wordEstimate(tokens: number): string {
  const words = tokens * WORDS_PER_TOKEN;
  return count(words < 100 ? Math.round(words) : Math.round(words / 10) * 10);
}
