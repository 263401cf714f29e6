import type { ComponentChildren, RefObject, TargetedSubmitEvent } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface FormProps {
  busy: boolean;
  email: string;
}

interface NewPasswordProps extends FormProps {
  onProblem: (problem: string) => void;
}

interface PasswordProps extends FormProps {
  onSubmit: (email: string, password: string) => void;
  /** Called if the person has forgotten the password, with the e-mail address as far as it is typed. */
  onForgotten: (email: string) => void;
}

/** Ask for e-mail and password. */
export function PasswordForm({ busy, email, onSubmit, onForgotten }: PasswordProps) {
  const address = useRef<HTMLInputElement>(null);
  return (
    <Form onSubmit={(field) => onSubmit(field("email").trim(), field("password"))}>
      <p class="quiet">Sign in to talk with your storyteller.</p>
      <Email address={address} known={email} />
      <label>
        Password
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      <button class="primary wide" disabled={busy}>
        {busy ? "Signing in…" : "Sign in"}
      </button>
      <button
        type="button"
        class="bare"
        disabled={busy}
        onClick={() => onForgotten(address.current?.value.trim() ?? "")}
      >
        I forgot my password
      </button>
    </Form>
  );
}

interface FirstPasswordProps extends NewPasswordProps {
  onSubmit: (password: string) => void;
}

/** Ask for a new password at the first sign-in. */
export function NewPasswordForm({ busy, email, onProblem, onSubmit }: FirstPasswordProps) {
  return (
    <Form onSubmit={(field) => submitIfSame(field, onProblem, onSubmit)}>
      <p class="quiet">Welcome. The password from the e-mail works only once: set one of your own.</p>
      <NewPasswordFields email={email} focused />
      <button class="primary wide" disabled={busy}>
        {busy ? "Saving…" : "Save and sign in"}
      </button>
    </Form>
  );
}

interface CodeProps extends FormProps {
  onSubmit: (email: string) => void;
  onBack: () => void;
}

/** Ask where to send a code with which a new password can be set. */
export function RequestCodeForm({ busy, email, onSubmit, onBack }: CodeProps) {
  return (
    <Form onSubmit={(field) => onSubmit(field("email").trim())}>
      <p class="quiet">You get a code by e-mail. With it you set a new password.</p>
      <Email known={email} />
      <button class="primary wide" disabled={busy}>
        {busy ? "Sending…" : "Send me a code"}
      </button>
      <button type="button" class="bare" disabled={busy} onClick={onBack}>
        Back to the sign-in
      </button>
    </Form>
  );
}

interface ResetProps extends NewPasswordProps {
  onSubmit: (code: string, password: string) => void;
  onAnother: () => void;
}

/** Ask for the code from the e-mail and a new password. */
export function ResetForm({ busy, email, onProblem, onSubmit, onAnother }: ResetProps) {
  const code = useRef<HTMLInputElement>(null);
  useEffect(() => code.current?.focus(), []);
  return (
    <Form onSubmit={(field) => submitIfSame(field, onProblem, (password) => onSubmit(field("code").trim(), password))}>
      <p class="quiet">
        If {email} may sign in here, a code is on its way to it. It is valid for an hour; look into the spam
        folder, too.
      </p>
      <label>
        Code from the e-mail
        <input
          ref={code}
          name="code"
          inputMode="numeric"
          autocomplete="one-time-code"
          pattern="\s*[0-9]{4,10}\s*"
          title="Digits only"
          required
        />
      </label>
      <NewPasswordFields email={email} />
      <button class="primary wide" disabled={busy}>
        {busy ? "Saving…" : "Save and sign in"}
      </button>
      <button type="button" class="bare" disabled={busy} onClick={onAnother}>
        Send another code
      </button>
    </Form>
  );
}

interface EmailProps {
  address?: RefObject<HTMLInputElement | null> | null;
  known: string;
}

function Email({ address = null, known }: EmailProps) {
  return (
    <label>
      E-mail
      <input
        ref={address}
        name="email"
        type="email"
        autocomplete="username"
        defaultValue={known}
        required
        autofocus
      />
    </label>
  );
}

function NewPasswordFields({ email, focused = false }: { email: string; focused?: boolean }) {
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (focused) first.current?.focus();
  }, [focused]);
  return (
    <>
      {/* For password managers, which save the new password under this name. */}
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
        Repeat the new password
        <input name="again" type="password" autocomplete="new-password" required />
      </label>
    </>
  );
}

type Field = (name: string) => string;

function Form({
  onSubmit,
  children,
}: {
  onSubmit: (field: Field) => void;
  children: ComponentChildren;
}) {
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    onSubmit((name) => {
      const value = form.get(name);
      return typeof value === "string" ? value : "";
    });
  };
  return <form onSubmit={submit}>{children}</form>;
}

function submitIfSame(
  field: Field,
  onProblem: (problem: string) => void,
  onSame: (password: string) => void,
): void {
  if (field("password") === field("again")) onSame(field("password"));
  else onProblem("The two passwords are not the same. Type them once more.");
}
