import { useEffect, useState } from "preact/hooks";
import { type Challenge, resetProblem, signInProblem } from "../cognito";
import { LoomMark } from "../icons";
import type { Session } from "../session";
import { AskForCodeForm, OwnPasswordForm, PasswordForm, ResetForm } from "./forms";

interface Props {
  session: Session;
  /** Why the person is asked to sign in again, or null. */
  notice: string | null;
  onSignedIn: () => void;
}

/** What the person is asked for. */
type Step =
  | { asks: "password"; email: string }
  | { asks: "own password"; challenge: Challenge }
  | { asks: "where to"; email: string }
  | { asks: "code"; email: string };

/** E-mail and password; at the first sign-in, or when it is forgotten, also the choice of a password. */
export function SignIn({ session, notice, onSignedIn }: Props) {
  const [step, setStep] = useState<Step>({ asks: "password", email: "" });
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    document.title = "Sign in · Storyloom";
  }, []);

  const goTo = (next: Step) => {
    setProblem(null);
    setStep(next);
  };

  const attempt = async (action: () => Promise<void>, words: (error: unknown) => string) => {
    setBusy(true);
    setProblem(null);
    try {
      await action();
    } catch (error) {
      const said = words(error);
      setProblem(said);
      // The challenge's session is spent once it has been answered too late.
      if (/Start again/.test(said)) setStep({ asks: "password", email: "" });
    } finally {
      setBusy(false);
    }
  };

  const signIn = (action: () => Promise<Challenge | null>) =>
    attempt(async () => {
      const next = await action();
      if (next === null) onSignedIn();
      else if (next.name === "NEW_PASSWORD_REQUIRED") setStep({ asks: "own password", challenge: next });
      else setProblem(`This account asks for ${next.name}, which this page cannot answer.`);
    }, signInProblem);

  const sendCode = (email: string) =>
    attempt(async () => {
      await session.sendResetCode(email);
      setStep({ asks: "code", email });
    }, resetProblem);

  const reset = (email: string, code: string, password: string) =>
    attempt(async () => {
      await session.resetPassword(email, code, password);
      setStep({ asks: "password", email });
      await signIn(() => session.signIn(email, password));
    }, resetProblem);

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
        {step.asks === "password" && (
          <PasswordForm
            busy={busy}
            email={step.email}
            onSubmit={(email, password) => signIn(() => session.signIn(email, password))}
            onForgotten={(email) => goTo({ asks: "where to", email })}
          />
        )}
        {step.asks === "own password" && (
          <OwnPasswordForm
            busy={busy}
            onProblem={setProblem}
            email={step.challenge.username}
            onSubmit={(password) => signIn(() => session.choosePassword(step.challenge, password))}
          />
        )}
        {step.asks === "where to" && (
          <AskForCodeForm
            busy={busy}
            email={step.email}
            onSubmit={sendCode}
            onBack={() => goTo({ asks: "password", email: step.email })}
          />
        )}
        {step.asks === "code" && (
          <ResetForm
            busy={busy}
            onProblem={setProblem}
            email={step.email}
            onSubmit={(code, password) => reset(step.email, code, password)}
            onAnother={() => goTo({ asks: "where to", email: step.email })}
          />
        )}
      </div>
    </main>
  );
}
