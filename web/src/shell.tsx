import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef } from "preact/hooks";
import type { Api } from "./api/client";
import type { Status } from "./api/contract";
import styles from "./shell.module.css";
import { ProblemNotice } from "./ui/elements";
import { usePoll } from "./ui/hooks";
import { Logo } from "./ui/icons";
import { type Route, useRoute } from "./ui/route";
import { Chat } from "./views/chat/chat";
import { isWaking } from "./views/chat/conversation";
import { useConversation } from "./views/chat/use-conversation";
import { Costs } from "./views/costs/costs";
import { HostingPanel } from "./views/hosting";
import { Keys } from "./views/keys/keys";
import { Models } from "./views/models";
import { People } from "./views/people";
import { RunView } from "./views/runs/run";
import { RunList } from "./views/runs/run-list";
import { Stories } from "./views/stories/stories";

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

/** The scope that each view needs. Without it the page neither links to the view nor asks the API for it. */
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

/** Seconds between two polls: of the person's role, and of the status of a model that is waking. */
const ROLE_POLL_SECONDS = 60;
const WAKING_POLL_SECONDS = 4;

/** Show the page of a person who is signed in: the header, and the view that the address names. */
export function Shell({ api, email, onSignOut }: { api: Api; email: string; onSignOut: () => void }) {
  const route = useRoute();
  const chat = useConversation(api, email);
  const waking = isWaking(chat.conversation);
  const status = usePoll(
    useCallback((signal: AbortSignal) => api.status(signal), [api]),
    (status) => (waking ? WAKING_POLL_SECONDS : statusPollSeconds(status)),
  );
  useReloadOnChange(waking, status.reload);
  const me = usePoll(
    useCallback((signal: AbortSignal) => api.me(signal), [api]),
    () => ROLE_POLL_SECONDS,
  );
  const may = (view: Route["view"]) => view === "chat" || (me.value?.scopes.includes(SCOPES[view]) ?? false);
  const shown = may(route.view) ? route.view : null;
  const main = useRef<HTMLElement>(null);
  useTitleAndFocus(route, main);

  return (
    <>
      <a class={styles.skip} href="#main" onClick={(event) => focusInstead(event, main.current)}>
        Skip to the content
      </a>
      <header class={styles.top}>
        <a class={styles.brand} href="#/chat">
          <Logo />
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
        <div class={styles.end}>
          <HostingPanel
            api={api}
            status={status}
            email={email}
            scopes={me.value?.scopes ?? []}
            onSignOut={onSignOut}
          />
        </div>
      </header>
      <main
        id="main"
        ref={main}
        tabIndex={-1}
        class={shown === "chat" ? styles.chat : styles.column}
      >
        <ProblemNotice problem={me.problem} />
        {shown === null && me.value !== undefined && (
          <p>Your role does not include this view. An owner can give you another role.</p>
        )}
        {shown === "chat" && <Chat chat={chat} status={status.value} />}
        {shown === "stories" && <Stories api={api} />}
        {shown === "models" && <Models api={api} />}
        {shown === "keys" && me.value !== undefined && (
          <Keys api={api} me={me.value} usage={status.value?.usage} />
        )}
        {shown === "people" && <People api={api} />}
        {shown === "costs" && <Costs api={api} />}
        {shown === "runs" && <RunList api={api} />}
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

function statusPollSeconds(status: Status | undefined): number {
  if (status === undefined || status.hosting.status === "waking") return WAKING_POLL_SECONDS;
  return status.run?.status === "running" ? 10 : 30;
}

/** Reload the status at once when a message begins to wake the model, and when it is answered. */
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
    // Moving the focus to a new view makes screen readers announce it. The first view keeps its own focus.
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
    if (route.view !== "chat") window.scrollTo(0, 0);
  }, [route, main]);
}

function focusInstead(event: Event, target: HTMLElement | null): void {
  // Following the link would change the address's fragment, which names the view.
  event.preventDefault();
  target?.focus();
}
