import { useEffect, useState } from "preact/hooks";

export type Route =
  | { view: "chat" }
  | { view: "stories" }
  | { view: "runs" }
  | { view: "run"; runId: string }
  | { view: "models" }
  | { view: "keys" }
  | { view: "people" }
  | { view: "costs" };

/** Return the view that the address's fragment names; the chat if it names none. */
export function parseRoute(hash: string): Route {
  const [view, argument] = hash.replace(/^#\/?/, "").split("/");
  if (view === "stories" || view === "models" || view === "keys" || view === "people" || view === "costs") return { view };
  if (view === "runs" && argument) return { view: "run", runId: decodeURIComponent(argument) };
  if (view === "runs") return { view };
  return { view: "chat" };
}

/** Return the link to a run's view. */
export function runHref(runId: string): string {
  return `#/runs/${encodeURIComponent(runId)}`;
}

/** Return the view that the address names, updated as the address changes. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const follow = () => setRoute(parseRoute(location.hash));
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  return route;
}
