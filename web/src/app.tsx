import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { Api, problemOf } from "./api";
import { forgetConversation } from "./chat/storage";
import { type Session, SignInExpired } from "./session";
import { Shell } from "./shell";
import { SignIn } from "./sign-in/sign-in";

type Who =
  { is: "unknown" } | { is: "out"; notice: string | null; byChoice: boolean } | { is: "in"; email: string };

/** The whole page: the sign-in, or the rooms behind it. */
export function App({ session }: { session: Session }) {
  const [who, setWho] = useState<Who>({ is: "unknown" });

  const enter = useCallback(() => setWho({ is: "in", email: session.email ?? "you" }), [session]);
  const expired = useCallback(
    () => setWho({ is: "out", notice: new SignInExpired().message, byChoice: false }),
    [],
  );
  const signOut = useCallback(() => {
    setWho({ is: "out", notice: null, byChoice: true });
    void session.signOut();
  }, [session]);
  const api = useMemo(() => new Api(session, expired), [session, expired]);

  useEffect(() => {
    if (!session.begun) {
      setWho({ is: "out", notice: null, byChoice: false });
      return;
    }
    session.renew().then(enter, (error: unknown) => {
      setWho({ is: "out", notice: problemOf(error).message, byChoice: false });
    });
  }, [session, enter]);

  useEffect(() => {
    // After the rooms have closed: they keep the conversation once more while they do.
    if (who.is === "out" && who.byChoice) forgetConversation();
  }, [who]);

  switch (who.is) {
    case "unknown":
      return <p class="plain-notice">Opening…</p>;
    case "out":
      return <SignIn session={session} notice={who.notice} onSignedIn={enter} />;
    case "in":
      return <Shell api={api} email={who.email} onSignOut={signOut} />;
  }
}
