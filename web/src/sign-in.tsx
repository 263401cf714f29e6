import type { TargetedSubmitEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Challenge, signInProblem } from "./cognito";
import { LoomMark } from "./icons";
import type { Session } from "./session";

interface Props {
  session: Session;
  /** Why the person is asked to sign in again, or null. */
  notice: string | null;
  onSignedIn: () => void;
}

/** E-mail and password; at the first sign-in also the choice of an own password. */
export function SignIn({ session, notice, onSignedIn }: Props) {
  const [challenge, setChallenge] = useState<Challenge | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    document.title = "Sign in · Storyloom";
  }, []);

  const attempt = async (step: () => Promise<Challenge | null>) => {
    setBusy(true);
    setProblem(null);
    try {
      const next = await step();
      if (next === null) onSignedIn();
      else if (next.name === "NEW_PASSWORD_REQUIRED") setChallenge(next);
      else setProblem(`This account asks for ${next.name}, which this page cannot answer.`);
    } catch (error) {
      setProblem(signInProblem(error));
      // The challenge's session is spent once it has been answered too late.
      if (/Start again/.test(signInProblem(error))) setChallenge(null);
    } finally {
      setBusy(false);
    }
  };

  return (
    <main class="door">
      <div class="door-card">
        <LoomMark />
        <h1>Storyloom</h1>
        {notice !== null && problem === null && <p class="notice">{notice}</p>}
        {problem !== null && (
          <p class="notice bad" role="alert">
            {problem}
          </p>
        )}
        {challenge === null ? (
          <PasswordForm
            busy={busy}
            onSubmit={(email, password) => attempt(() => session.signIn(email, password))}
          />
        ) : (
          <NewPasswordForm
            busy={busy}
            email={challenge.username}
            onProblem={setProblem}
            onSubmit={(password) => attempt(() => session.choosePassword(challenge, password))}
          />
        )}
      </div>
    </main>
  );
}

function PasswordForm({
  busy,
  onSubmit,
}: {
  busy: boolean;
  onSubmit: (email: string, password: string) => void;
}) {
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    onSubmit(text(form, "email").trim(), text(form, "password"));
  };
  return (
    <form onSubmit={submit}>
      <p class="quiet">Sign in to talk with your storyteller.</p>
      <label>
        E-mail
        <input name="email" type="email" autocomplete="username" required autofocus />
      </label>
      <label>
        Password
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      <button class="primary wide" disabled={busy}>
        {busy ? "Signing in…" : "Sign in"}
      </button>
    </form>
  );
}

interface NewPasswordProps {
  busy: boolean;
  email: string;
  onProblem: (problem: string) => void;
  onSubmit: (password: string) => void;
}

function NewPasswordForm({ busy, email, onProblem, onSubmit }: NewPasswordProps) {
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    if (text(form, "password") === text(form, "again")) onSubmit(text(form, "password"));
    else onProblem("The two passwords are not the same. Type them once more.");
  };
  return (
    <form onSubmit={submit}>
      <p class="quiet">Welcome. Your first password was only for coming in: choose one of your own.</p>
      <input
        class="unseen"
        type="email"
        name="email"
        autocomplete="username"
        value={email}
        readOnly
        tabIndex={-1}
        aria-hidden="true"
      />
      <label>
        New password
        <input ref={first} name="password" type="password" autocomplete="new-password" required />
      </label>
      <label>
        The same again
        <input name="again" type="password" autocomplete="new-password" required />
      </label>
      <button class="primary wide" disabled={busy}>
        {busy ? "Saving…" : "Save and sign in"}
      </button>
    </form>
  );
}

function text(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value : "";
}
