import { type Challenge, type Cognito, CognitoError, type SignInAnswer, type Tokens } from "./cognito";

/** The sign-in is over and only the person can renew it. */
export class SignInExpired extends Error {
  constructor() {
    super("Your sign-in has expired. Sign in again to go on; your conversation is still here.");
    this.name = "SignInExpired";
  }
}

const REFRESH_TOKEN = "storyloom.refresh-token";

/** An ID token this close to its end is renewed first: a request may be under way for a while. */
const MARGIN_MS = 60_000;

/**
 * Who is signed in on this tab.
 *
 * The ID token lives in memory only. The refresh token lives in the tab's session storage, so that a reload
 * does not ask for the password again and closing the tab signs out.
 */
export class Session {
  private idToken: string | null = null;
  private renewAt = 0;
  private renewal: Promise<string> | null = null;

  constructor(
    private readonly cognito: Cognito,
    private readonly storage: Storage = sessionStorage,
    private readonly now: () => number = Date.now,
  ) {}

  /** Whether somebody signed in on this tab and has not signed out. */
  get begun(): boolean {
    return this.storage.getItem(REFRESH_TOKEN) !== null;
  }

  /** The e-mail address of the person, or null before the first token. */
  get email(): string | null {
    return this.idToken === null ? null : emailIn(this.idToken);
  }

  /** Sign in. Returns the challenge to answer with `choosePassword`, or null when the person is in. */
  async signIn(email: string, password: string): Promise<Challenge | null> {
    return this.accept(await this.cognito.signIn(email, password));
  }

  /** Choose an own password at the first sign-in. */
  async choosePassword(challenge: Challenge, password: string): Promise<Challenge | null> {
    return this.accept(await this.cognito.choosePassword(challenge, password));
  }

  /** Have a code sent to the e-mail address, for who has forgotten the password. */
  sendResetCode(email: string): Promise<void> {
    return this.cognito.sendResetCode(email);
  }

  /** Choose a new password with the code from the e-mail. */
  resetPassword(email: string, code: string, password: string): Promise<void> {
    return this.cognito.resetPassword(email, code, password);
  }

  /** Return a valid ID token, renewed if need be. Throws SignInExpired. */
  async token(): Promise<string> {
    if (this.idToken !== null && this.now() < this.renewAt) return this.idToken;
    return this.renew();
  }

  /** Get a fresh ID token, whatever the age of the present one. Throws SignInExpired. */
  renew(): Promise<string> {
    // Several requests may find the token old at once: they share one renewal.
    this.renewal ??= this.askForToken().finally(() => {
      this.renewal = null;
    });
    return this.renewal;
  }

  /** Forget the person on this tab and, as far as the network allows, everywhere. */
  async signOut(): Promise<void> {
    const refreshToken = this.forget();
    // Signed out on this tab either way: without a network the token simply lives until it expires.
    if (refreshToken !== null) await this.cognito.revoke(refreshToken).catch(() => undefined);
  }

  private accept(answer: SignInAnswer): Challenge | null {
    if ("challenge" in answer) return answer.challenge;
    this.keep(answer.tokens);
    return null;
  }

  private async askForToken(): Promise<string> {
    const refreshToken = this.storage.getItem(REFRESH_TOKEN);
    if (refreshToken === null) throw new SignInExpired();
    try {
      return this.keep(await this.cognito.refresh(refreshToken));
    } catch (error) {
      // Anything but a refusal (no network, Cognito busy) passes by: the sign-in itself may still be good.
      if (!(error instanceof CognitoError) || !isRefusal(error)) throw error;
      this.forget();
      throw new SignInExpired();
    }
  }

  private keep(tokens: Tokens): string {
    this.idToken = tokens.IdToken;
    this.renewAt = this.now() + tokens.ExpiresIn * 1000 - MARGIN_MS;
    if (tokens.RefreshToken !== undefined) this.storage.setItem(REFRESH_TOKEN, tokens.RefreshToken);
    return tokens.IdToken;
  }

  private forget(): string | null {
    const refreshToken = this.storage.getItem(REFRESH_TOKEN);
    this.storage.removeItem(REFRESH_TOKEN);
    this.idToken = null;
    return refreshToken;
  }
}

function isRefusal(error: CognitoError): boolean {
  return ["NotAuthorizedException", "UserNotFoundException", "InvalidParameterException"].includes(
    error.code,
  );
}

/** Read the e-mail out of a token. Its signature is the server's to check; here it is only shown. */
function emailIn(token: string): string | null {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as { email?: unknown };
    return typeof claims.email === "string" ? claims.email : null;
  } catch {
    return null;
  }
}
