import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { Api, problemOf } from "./api/client";
import { type Session, SignInExpired } from "./api/session";
import { Shell } from "./shell";
import { deleteConversation } from "./views/chat/use-conversation";
import { SignIn } from "./views/sign-in/sign-in";

type User =
  | { state: "unknown" }
  /** `leaving` is the e-mail address of a person who has just signed out. */
  | { state: "signed-out"; notice: string | null; leaving: string | null }
  | { state: "signed-in"; email: string };

/** Show the whole page: the sign-in, or what is behind it. */
export function App({ session }: { session: Session }) {
  const [user, setUser] = useState<User>({ state: "unknown" });

  const enter = useCallback(() => setUser({ state: "signed-in", email: session.email ?? "you" }), [session]);
  const expire = useCallback(
    () => setUser({ state: "signed-out", notice: new SignInExpired().message, leaving: null }),
    [],
  );
  const signOut = useCallback(
    (email: string) => {
      setUser({ state: "signed-out", notice: null, leaving: email });
      void session.signOut();
    },
    [session],
  );
  const api = useMemo(() => new Api(session, expire), [session, expire]);

  useEffect(() => {
    if (!session.isStored) {
      setUser({ state: "signed-out", notice: null, leaving: null });
      return;
    }
    session.renew().then(enter, (error: unknown) => {
      setUser({ state: "signed-out", notice: problemOf(error).message, leaving: null });
    });
  }, [session, enter]);

  useEffect(() => {
    // In an effect, because the chat saves its conversation once more while it closes.
    if (user.state === "signed-out" && user.leaving !== null) deleteConversation(user.leaving);
  }, [user]);

  switch (user.state) {
    case "unknown":
      return <p class="page-notice">Opening…</p>;
    case "signed-out":
      return <SignIn session={session} notice={user.notice} onSignedIn={enter} />;
    case "signed-in":
      return <Shell api={api} email={user.email} onSignOut={() => signOut(user.email)} />;
  }
}
