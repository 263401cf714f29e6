import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef } from "preact/hooks";
import type { Api } from "./api";
import { Chat } from "./chat/chat";
import { awaitsWaking } from "./chat/state";
import { useConversation } from "./chat/use-conversation";
import { Costs } from "./costs/costs";
import type { Status } from "./contract";
import { HostingPanel } from "./hosting";
import { LoomMark } from "./icons";
import { Keys } from "./keys/keys";
import { Models } from "./models/models";
import { ProblemNotice } from "./notices";
import { People } from "./people/people";
import { usePoll } from "./poll";
import { type Route, useRoute } from "./route";
import { RunView } from "./runs/run";
import { Runs } from "./runs/runs";
import { Stories } from "./stories/stories";

const TITLES: Record<Route["view"], string> = {
  chat: "Chat",
  stories: "Stories",
  runs: "Runs",
  run: "Run",
  models: "Versions",
  keys: "API keys",
  people: "People",
  costs: "Costs",
};

/** The scope that each view needs: without it the view is neither offered nor asked for. */
const SCOPES: Record<Route["view"], string> = {
  chat: "chat",
  stories: "read",
  runs: "read",
  run: "read",
  models: "read",
  keys: "keys",
  people: "people",
  costs: "read",
};

/** How often to look whether the role has changed, in seconds. */
const ROLE_SECONDS = 60;

/** How often to look at a model that is waking, in seconds. */
const WAKING_SECONDS = 4;

/** Everything behind the sign-in: header, the view that the address names, the state of the model. */
export function Shell({ api, email, onSignOut }: { api: Api; email: string; onSignOut: () => void }) {
  const route = useRoute();
  const talk = useConversation(api, email);
  const waking = awaitsWaking(talk.conversation);
  const status = usePoll(
    useCallback((signal: AbortSignal) => api.status(signal), [api]),
    (status) => (waking ? WAKING_SECONDS : secondsBetweenStatuses(status)),
  );
  useReloadOnChange(waking, status.reload);
  const me = usePoll(
    useCallback((signal: AbortSignal) => api.me(signal), [api]),
    () => ROLE_SECONDS,
  );
  const may = (view: Route["view"]) => view === "chat" || (me.value?.scopes.includes(SCOPES[view]) ?? false);
  const shown = may(route.view) ? route.view : null;
  const main = useRef<HTMLElement>(null);
  useTitleAndFocus(route, main);

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => focusInstead(event, main.current)}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="#/chat">
          <LoomMark />
          <span>Storyloom</span>
        </a>
        <nav aria-label="Main">
          <NavLink to="#/chat" current={route.view === "chat"}>
            Chat
          </NavLink>
          {may("runs") && (
            <>
              <NavLink to="#/stories" current={route.view === "stories"}>
                Stories
              </NavLink>
              <NavLink to="#/runs" current={route.view === "runs" || route.view === "run"}>
                Runs
              </NavLink>
              <NavLink to="#/models" current={route.view === "models"}>
                Versions
              </NavLink>
            </>
          )}
        </nav>
        <div class="top-end">
          <HostingPanel
            api={api}
            status={status}
            email={email}
            scopes={me.value?.scopes ?? []}
            onSignOut={onSignOut}
          />
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1} class={`view ${route.view}-view`}>
        <ProblemNotice problem={me.problem} />
        {shown === null && me.value !== undefined && (
          <p>Your role does not open this view. An owner can give you another role.</p>
        )}
        {shown === "chat" && <Chat talk={talk} status={status.value} />}
        {shown === "stories" && <Stories api={api} />}
        {shown === "models" && <Models api={api} />}
        {shown === "keys" && me.value !== undefined && (
          <Keys api={api} me={me.value} usage={status.value?.usage} />
        )}
        {shown === "people" && <People api={api} />}
        {shown === "costs" && <Costs api={api} />}
        {shown === "runs" && <Runs api={api} />}
        {shown === "run" && route.view === "run" && (
          <RunView api={api} runId={route.runId} key={route.runId} />
        )}
      </main>
    </>
  );
}

function NavLink({ to, current, children }: { to: string; current: boolean; children: ComponentChildren }) {
  return (
    <a href={to} aria-current={current ? "page" : undefined}>
      {children}
    </a>
  );
}

function secondsBetweenStatuses(status: Status | undefined): number {
  if (status === undefined || status.hosting.status === "waking") return WAKING_SECONDS;
  return status.run?.status === "running" ? 10 : 30;
}

/** Look at once when a message has begun to wake the model, and when it is answered. */
function useReloadOnChange(waking: boolean, reload: () => void): void {
  const before = useRef(waking);
  useEffect(() => {
    if (before.current !== waking) reload();
    before.current = waking;
  }, [waking, reload]);
}

function useTitleAndFocus(route: Route, main: { current: HTMLElement | null }): void {
  const first = useRef(true);
  useEffect(() => {
    document.title = `${TITLES[route.view]} · Storyloom`;
    // A view that replaces another is announced by moving the focus to it; the first view keeps the page's own.
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
    if (route.view !== "chat") window.scrollTo(0, 0);
  }, [route, main]);
}

function focusInstead(event: Event, target: HTMLElement | null): void {
  // Following the link would change the fragment, which names the view.
  event.preventDefault();
  target?.focus();
}
