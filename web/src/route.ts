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

/** Read the view from the address's fragment; anything unknown is the chat. */
export function routeOf(hash: string): Route {
  const [view, argument] = hash.replace(/^#\/?/, "").split("/");
  if (view === "stories" || view === "models" || view === "keys" || view === "people" || view === "costs") return { view };
  if (view === "runs" && argument) return { view: "run", runId: decodeURIComponent(argument) };
  if (view === "runs") return { view };
  return { view: "chat" };
}

/** The address of a run's own view. */
export function runAddress(runId: string): string {
  return `#/runs/${encodeURIComponent(runId)}`;
}

/** The view that the address names, followed as it changes. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => routeOf(location.hash));
  useEffect(() => {
    const follow = () => setRoute(routeOf(location.hash));
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  return route;
}
