/** The hooks that several views share: polling, the current time, an element's width. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Problem, problemOf } from "../api/client";

const MAX_RETRY_SECONDS = 60;

export interface Polled<T> {
  /** The newest value; it stays if later requests fail. */
  value: T | undefined;
  /** Why the newest request failed, or null. */
  problem: Problem | null;
  /** Load now instead of at the next interval. */
  reload(): void;
}

/** Return the seconds until the next request, after `failures` failed ones in a row. */
export function retryDelay(failures: number, intervalSeconds: number, retryAfter: number | null): number {
  if (failures === 0) return intervalSeconds;
  return Math.min(Math.max(intervalSeconds * 2 ** failures, retryAfter ?? 0), MAX_RETRY_SECONDS);
}

/**
 * Poll a value: one request at a time, none while the tab is hidden, fewer after failures.
 *
 * @param load fetches the value; pass a stable function (`useCallback`).
 * @param intervalSeconds seconds to wait after a value, which may depend on it.
 */
export function usePoll<T>(
  load: (signal: AbortSignal) => Promise<T>,
  intervalSeconds: (value: T | undefined) => number,
): Polled<T> {
  const [value, setValue] = useState<T | undefined>(undefined);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [reloads, setReloads] = useState(0);
  const interval = useRef(intervalSeconds);
  interval.current = intervalSeconds;

  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    let loading = false;

    const poll = async () => {
      clearTimeout(timer);
      if (loading || document.hidden) return; // a hidden tab polls again at its next `visibilitychange`
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
      timer = setTimeout(() => void poll(), retryDelay(failures, interval.current(latest), retryAfter) * 1000);
    };
    const onVisible = () => void poll();

    document.addEventListener("visibilitychange", onVisible);
    void poll();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [load, reloads]);

  return { value, problem, reload: useCallback(() => setReloads((count) => count + 1), []) };
}

/** Return the current time in milliseconds, updated every `seconds`. */
export function useNow(seconds: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return now;
}

/** Return a ref for an element and the element's width in pixels, updated as it changes. */
export function useWidth(): [{ current: HTMLElement | null }, number] {
  const element = useRef<HTMLElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (element.current === null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}
