import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Problem, problemOf } from "./api";

/** The longest pause between two tries of something that keeps failing, in seconds. */
const LONGEST_PAUSE = 60;

export interface Polled<T> {
  /** The newest value; it stays while later tries fail. */
  value: T | undefined;
  /** Why the newest try failed, or null. */
  problem: Problem | null;
  /** Load now instead of at the next turn. */
  reload(): void;
}

/** Seconds until the next try after `failures` failed ones in a row. */
export function pauseAfter(failures: number, usual: number, retryAfter: number | null): number {
  if (failures === 0) return usual;
  return Math.min(Math.max(usual * 2 ** failures, retryAfter ?? 0), LONGEST_PAUSE);
}

/**
 * Keep a value fresh, politely: one request at a time, none while the tab is hidden, fewer after failures.
 *
 * @param load fetches the value; pass a stable function (`useCallback`).
 * @param every seconds to wait after a value, which may depend on it.
 */
export function usePoll<T>(
  load: (signal: AbortSignal) => Promise<T>,
  every: (value: T | undefined) => number,
): Polled<T> {
  const [value, setValue] = useState<T | undefined>(undefined);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [again, setAgain] = useState(0);
  const pause = useRef(every);
  pause.current = every;

  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    let loading = false;

    const turn = async () => {
      clearTimeout(timer);
      if (loading || document.hidden) return; // a hidden tab goes on at its next `visibilitychange`
      loading = true;
      let latest: T | undefined;
      let retryAfter: number | null = null;
      try {
        latest = await load(stop.signal);
        if (stop.signal.aborted) return;
        failures = 0;
        setValue(latest);
        setProblem(null);
      } catch (error) {
        if (stop.signal.aborted) return;
        failures += 1;
        retryAfter = error instanceof ApiError ? error.retryAfter : null;
        setProblem(problemOf(error));
      } finally {
        loading = false;
      }
      timer = setTimeout(() => void turn(), pauseAfter(failures, pause.current(latest), retryAfter) * 1000);
    };
    const onVisible = () => void turn();

    document.addEventListener("visibilitychange", onVisible);
    void turn();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [load, again]);

  return { value, problem, reload: useCallback(() => setAgain((n) => n + 1), []) };
}
