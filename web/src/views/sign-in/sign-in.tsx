import { useEffect, useState } from "preact/hooks";
import { type Challenge, resetProblem, signInProblem } from "../../api/cognito";
import type { Session } from "../../api/session";
import { Logo } from "../../ui/icons";
import { NewPasswordForm, PasswordForm, RequestCodeForm, ResetForm } from "./sign-in-forms";
import styles from "./sign-in.module.css";

interface Props {
  session: Session;
  /** Why the person is asked to sign in again, or null. */
  notice: string | null;
  onSignedIn: () => void;
}

/** Which form is shown. */
type Step =
  | { form: "password"; email: string }
  | { form: "new-password"; challenge: Challenge }
  | { form: "request-code"; email: string }
  | { form: "reset"; email: string };

/** Show the sign-in, and the forms to set a password at the first sign-in or after it was forgotten. */
export function SignIn({ session, notice, onSignedIn }: Props) {
  const [step, setStep] = useState<Step>({ form: "password", email: "" });
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    document.title = "Sign in · Storyloom";
  }, []);

  const show = (next: Step) => {
    setProblem(null);
    setStep(next);
  };

  const attempt = async (action: () => Promise<void>, explain: (error: unknown) => string) => {
    setBusy(true);
    setProblem(null);
    try {
      await action();
    } catch (error) {
      const explanation = explain(error);
      setProblem(explanation);
      // A challenge that was answered too late cannot be answered again.
      if (/Start again/.test(explanation)) setStep({ form: "password", email: "" });
    } finally {
      setBusy(false);
    }
  };

  const signIn = (action: () => Promise<Challenge | null>) =>
    attempt(async () => {
      const next = await action();
      if (next === null) onSignedIn();
      else if (next.name === "NEW_PASSWORD_REQUIRED") setStep({ form: "new-password", challenge: next });
      else setProblem(`This account requires ${next.name}, which this page does not support.`);
    }, signInProblem);

  const sendCode = (email: string) =>
    attempt(async () => {
      await session.sendResetCode(email);
      setStep({ form: "reset", email });
    }, resetProblem);

  const reset = (email: string, code: string, password: string) =>
    attempt(async () => {
      await session.resetPassword(email, code, password);
      setStep({ form: "password", email });
      await signIn(() => session.signIn(email, password));
    }, resetProblem);

  return (
    <main class={styles.page}>
      <div class={styles.card}>
        <Logo />
        <h1>Storyloom</h1>
        {notice !== null && problem === null && <p class="notice">{notice}</p>}
        {problem !== null && (
          <p class="notice bad" role="alert">
            {problem}
          </p>
        )}
        {step.form === "password" && (
          <PasswordForm
            busy={busy}
            email={step.email}
            onSubmit={(email, password) => signIn(() => session.signIn(email, password))}
            onForgotten={(email) => show({ form: "request-code", email })}
          />
        )}
        {step.form === "new-password" && (
          <NewPasswordForm
            busy={busy}
            onProblem={setProblem}
            email={step.challenge.username}
            onSubmit={(password) => signIn(() => session.setFirstPassword(step.challenge, password))}
          />
        )}
        {step.form === "request-code" && (
          <RequestCodeForm
            busy={busy}
            email={step.email}
            onSubmit={sendCode}
            onBack={() => show({ form: "password", email: step.email })}
          />
        )}
        {step.form === "reset" && (
          <ResetForm
            busy={busy}
            onProblem={setProblem}
            email={step.email}
            onSubmit={(code, password) => reset(step.email, code, password)}
            onAnother={() => show({ form: "request-code", email: step.email })}
          />
        )}
      </div>
    </main>
  );
}
