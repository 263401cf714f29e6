/** Cognito's public sign-in calls: they need no AWS credentials, so the page makes them by itself. */

/** A refusal by Cognito, under the name that Cognito gives it. */
export class CognitoError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "CognitoError";
  }
}

/** What a successful sign-in or refresh brings. A refresh brings no new refresh token. */
export interface Tokens {
  IdToken: string;
  RefreshToken?: string;
  /** Seconds until the ID token expires. */
  ExpiresIn: number;
}

/** A question Cognito asks before it lets someone in, such as `NEW_PASSWORD_REQUIRED`. */
export interface Challenge {
  name: string;
  session: string;
  username: string;
}

export type SignInAnswer = { tokens: Tokens } | { challenge: Challenge };

interface AuthResponse {
  AuthenticationResult?: Tokens;
  ChallengeName?: string;
  Session?: string;
  ChallengeParameters?: Record<string, string>;
}

export class Cognito {
  constructor(
    private readonly endpoint: string,
    private readonly clientId: string,
  ) {}

  /** Sign in with e-mail and password. */
  signIn(email: string, password: string): Promise<SignInAnswer> {
    return this.authenticate(email, "InitiateAuth", {
      AuthFlow: "USER_PASSWORD_AUTH",
      AuthParameters: { USERNAME: email, PASSWORD: password },
    });
  }

  /** Answer the challenge of a first sign-in, made with a password that somebody else chose. */
  choosePassword(challenge: Challenge, password: string): Promise<SignInAnswer> {
    return this.authenticate(challenge.username, "RespondToAuthChallenge", {
      ChallengeName: "NEW_PASSWORD_REQUIRED",
      Session: challenge.session,
      ChallengeResponses: { USERNAME: challenge.username, NEW_PASSWORD: password },
    });
  }

  /** Have a code sent by e-mail. Cognito does not tell whether anybody has this address. */
  async sendResetCode(email: string): Promise<void> {
    await this.call("ForgotPassword", { Username: email });
  }

  /** Set a new password with the code from the e-mail. */
  async resetPassword(email: string, code: string, password: string): Promise<void> {
    await this.call("ConfirmForgotPassword", {
      Username: email,
      ConfirmationCode: code,
      Password: password,
    });
  }

  /** Get a fresh ID token. Throws CognitoError `NotAuthorizedException` once the sign-in has expired. */
  async refresh(refreshToken: string): Promise<Tokens> {
    const answer = await this.authenticate("", "InitiateAuth", {
      AuthFlow: "REFRESH_TOKEN_AUTH",
      AuthParameters: { REFRESH_TOKEN: refreshToken },
    });
    if ("challenge" in answer) throw new CognitoError("NotAuthorizedException", "Sign in again.");
    return answer.tokens;
  }

  /** Make a refresh token worthless, so that signing out also ends a copy of it. */
  async revoke(refreshToken: string): Promise<void> {
    await this.call("RevokeToken", { Token: refreshToken });
  }

  private async authenticate(username: string, action: string, fields: object): Promise<SignInAnswer> {
    const answer = (await this.call(action, fields)) as AuthResponse;
    if (answer.AuthenticationResult) return { tokens: answer.AuthenticationResult };
    return {
      challenge: {
        name: answer.ChallengeName ?? "an unknown challenge",
        session: answer.Session ?? "",
        // Cognito may know the person under another name than the e-mail they typed.
        username: answer.ChallengeParameters?.["USER_ID_FOR_SRP"] ?? username,
      },
    };
  }

  private async call(action: string, fields: object): Promise<unknown> {
    const response = await fetch(this.endpoint, {
      method: "POST",
      headers: {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}`,
      },
      body: JSON.stringify({ ClientId: this.clientId, ...fields }),
    });
    const body: unknown = await response.json().catch(() => ({}));
    if (!response.ok) throw cognitoError(response.status, body);
    return body;
  }
}

function cognitoError(status: number, body: unknown): CognitoError {
  const { __type, message, Message } = body as { __type?: string; message?: string; Message?: string };
  // The type may come with a namespace before a `#`.
  const code = __type?.split("#").pop() ?? `HTTP ${status}`;
  return new CognitoError(code, message ?? Message ?? `Sign-in answered with status ${status}.`);
}

/** Say in plain words why a sign-in failed and what helps. */
export function signInProblem(error: unknown): string {
  if (!(error instanceof CognitoError)) {
    return "The sign-in service cannot be reached. Check your connection and try again.";
  }
  switch (error.code) {
    case "NotAuthorizedException":
      return notAuthorized(error.message);
    case "UserNotFoundException":
      return "The e-mail address or the password is not right.";
    case "PasswordResetRequiredException":
      return "Your password has to be chosen anew: press “I forgot my password”.";
    case "UserNotConfirmedException":
      return "This account is not confirmed yet. Ask the person who set up Storyloom to confirm it.";
    case "InvalidPasswordException":
      return `That password is not strong enough. ${error.message}`;
    case "CodeMismatchException":
    case "ExpiredCodeException":
      return "That took too long, so the sign-in was cancelled. Start again with your first password.";
    case "TooManyRequestsException":
    case "LimitExceededException":
      return "Too many tries in a short time. Wait a minute, then try again.";
    default:
      return `Sign-in did not work: ${error.message}`;
  }
}

/** Say in plain words why a password could not be chosen anew and what helps. */
export function resetProblem(error: unknown): string {
  switch (error instanceof CognitoError ? error.code : "") {
    case "CodeMismatchException":
      return "That is not the code. Take it from the newest e-mail.";
    case "ExpiredCodeException":
      return "This code is no longer good. Have another one sent.";
    case "NotAuthorizedException":
      if (/disabled/i.test(String(error))) return signInProblem(error);
      // Nobody who never came in has a password that could be forgotten.
      return "You have not signed in before: use the first password, which came by e-mail. If it has expired, ask the person who set up Storyloom to send a new one.";
    case "InvalidParameterException":
      return "No code can be sent: your e-mail address was never confirmed. Ask the person who set up Storyloom for a new password.";
    case "CodeDeliveryFailureException":
      return "The e-mail could not be sent. Try again in a few minutes.";
    case "LimitExceededException":
    case "TooManyFailedAttemptsException":
      return "Too many tries. Wait an hour, then have another code sent.";
    default:
      return signInProblem(error);
  }
}

function notAuthorized(message: string): string {
  // Cognito tells these apart in its message only.
  if (/attempts exceeded/i.test(message)) {
    return "Too many wrong passwords. Wait a quarter of an hour, then try again.";
  }
  if (/temporary password has expired/i.test(message)) {
    return "Your first password has expired. Ask the person who set up Storyloom to send a new one.";
  }
  if (/disabled/i.test(message)) {
    return "This account is switched off. Ask the person who set up Storyloom.";
  }
  if (/session/i.test(message)) {
    return "That took too long, so the sign-in was cancelled. Start again with your first password.";
  }
  return "The e-mail address or the password is not right.";
}
