import { type Challenge, type Cognito, CognitoError, type SignInAnswer, type Tokens } from "./cognito";

/** The sign-in has expired; only the person can renew it. */
export class SignInExpired extends Error {
  constructor() {
    super("Your sign-in has expired. Sign in again; your conversation is still here.");
    this.name = "SignInExpired";
  }
}

const REFRESH_TOKEN = "storyloom.refresh-token";

/** An ID token that expires this soon is renewed first, because a request takes a while. */
const RENEWAL_MARGIN_MS = 60_000;

/**
 * The person who is signed in on this tab.
 *
 * The ID token is kept in memory only. The refresh token is kept in the tab's session storage, so that a reload does
 * not ask for the password again and closing the tab signs out.
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

  /** Whether this tab has stored a sign-in. */
  get isStored(): boolean {
    return this.storage.getItem(REFRESH_TOKEN) !== null;
  }

  /** The person's e-mail address; null before the first token. */
  get email(): string | null {
    return this.idToken === null ? null : emailIn(this.idToken);
  }

  /** Sign in. Returns null, or the challenge to answer with `setFirstPassword`. */
  async signIn(email: string, password: string): Promise<Challenge | null> {
    return this.accept(await this.cognito.signIn(email, password));
  }

  /** Set a new password at the first sign-in. */
  async setFirstPassword(challenge: Challenge, password: string): Promise<Challenge | null> {
    return this.accept(await this.cognito.setFirstPassword(challenge, password));
  }

  /** Send a code to the e-mail address of a person who has forgotten the password. */
  sendResetCode(email: string): Promise<void> {
    return this.cognito.sendResetCode(email);
  }

  /** Set a new password with the code from the e-mail. */
  resetPassword(email: string, code: string, password: string): Promise<void> {
    return this.cognito.resetPassword(email, code, password);
  }

  /** Return a valid ID token and renew it if necessary. Throws SignInExpired. */
  async token(): Promise<string> {
    if (this.idToken !== null && this.now() < this.renewAt) return this.idToken;
    return this.renew();
  }

  /** Renew the ID token whatever its age. Throws SignInExpired. */
  renew(): Promise<string> {
    // Several requests may find the token expired at once: they share one renewal.
    this.renewal ??= this.refreshToken().finally(() => {
      this.renewal = null;
    });
    return this.renewal;
  }

  /** Sign out on this tab, and revoke the refresh token if Cognito can be reached. */
  async signOut(): Promise<void> {
    const refreshToken = this.deleteTokens();
    // The tab is signed out in any case; a token that could not be revoked expires by itself.
    if (refreshToken !== null) await this.cognito.revoke(refreshToken).catch(() => undefined);
  }

  private accept(answer: SignInAnswer): Challenge | null {
    if ("challenge" in answer) return answer.challenge;
    this.store(answer.tokens);
    return null;
  }

  private async refreshToken(): Promise<string> {
    const refreshToken = this.storage.getItem(REFRESH_TOKEN);
    if (refreshToken === null) throw new SignInExpired();
    try {
      return this.store(await this.cognito.refresh(refreshToken));
    } catch (error) {
      // After any other error (no network, Cognito is busy) the sign-in may still be valid.
      if (!(error instanceof CognitoError) || !isRefusal(error)) throw error;
      this.deleteTokens();
      throw new SignInExpired();
    }
  }

  private store(tokens: Tokens): string {
    this.idToken = tokens.IdToken;
    this.renewAt = this.now() + tokens.ExpiresIn * 1000 - RENEWAL_MARGIN_MS;
    if (tokens.RefreshToken !== undefined) this.storage.setItem(REFRESH_TOKEN, tokens.RefreshToken);
    return tokens.IdToken;
  }

  private deleteTokens(): string | null {
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

/** Return the e-mail address in a token. It is only displayed; the server checks the signature. */
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
