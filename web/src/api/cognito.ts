/** Cognito's public sign-in calls. They need no AWS credentials, so the page makes them itself. */

/** Cognito refused a call; `code` is Cognito's name of the error. */
export class CognitoError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "CognitoError";
  }
}

/** The tokens of a sign-in or a refresh. A refresh returns no new refresh token. */
export interface Tokens {
  IdToken: string;
  RefreshToken?: string;
  /** Seconds until the ID token expires. */
  ExpiresIn: number;
}

/** What Cognito requires before a sign-in succeeds, such as `NEW_PASSWORD_REQUIRED`. */
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

  /** Answer the challenge of a first sign-in, which was made with a one-time password. */
  setFirstPassword(challenge: Challenge, password: string): Promise<SignInAnswer> {
    return this.authenticate(challenge.username, "RespondToAuthChallenge", {
      ChallengeName: "NEW_PASSWORD_REQUIRED",
      Session: challenge.session,
      ChallengeResponses: { USERNAME: challenge.username, NEW_PASSWORD: password },
    });
  }

  /** Send a code by e-mail. Cognito does not reveal whether anybody has this address. */
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

  /** Return a new ID token. Throws CognitoError `NotAuthorizedException` if the sign-in has expired. */
  async refresh(refreshToken: string): Promise<Tokens> {
    const answer = await this.authenticate("", "InitiateAuth", {
      AuthFlow: "REFRESH_TOKEN_AUTH",
      AuthParameters: { REFRESH_TOKEN: refreshToken },
    });
    if ("challenge" in answer) throw new CognitoError("NotAuthorizedException", "Sign in again.");
    return answer.tokens;
  }

  /** Revoke a refresh token, so that copies of it end, too. */
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
        // Cognito's name of the person may be another one than the e-mail address that they typed.
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
  return new CognitoError(code, message ?? Message ?? `The sign-in service answered with status ${status}.`);
}

/** Explain why a sign-in failed and what to do. */
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
      return "You need a new password: press “I forgot my password”.";
    case "UserNotConfirmedException":
      return "This account is not confirmed yet. Ask an owner of this Storyloom to confirm it.";
    case "InvalidPasswordException":
      return `That password is not strong enough. ${error.message}`;
    case "CodeMismatchException":
    case "ExpiredCodeException":
      return "That took too long, so the sign-in was cancelled. Start again with your one-time password.";
    case "TooManyRequestsException":
    case "LimitExceededException":
      return "Too many attempts in a short time. Wait a minute, then try again.";
    default:
      return `The sign-in failed: ${error.message}`;
  }
}

/** Explain why a new password could not be set and what to do. */
export function resetProblem(error: unknown): string {
  switch (error instanceof CognitoError ? error.code : "") {
    case "CodeMismatchException":
      return "That is not the code. Copy it from the newest e-mail.";
    case "ExpiredCodeException":
      return "This code has expired. Send another one.";
    case "NotAuthorizedException":
      if (/disabled/i.test(String(error))) return signInProblem(error);
      // A person who has never signed in has only the one-time password.
      return "You have not signed in before: use the one-time password from the e-mail. If it has expired, ask an owner of this Storyloom to invite you again.";
    case "InvalidParameterException":
      return "No code can be sent: your e-mail address was never confirmed. Ask an owner of this Storyloom for a new password.";
    case "CodeDeliveryFailureException":
      return "The e-mail could not be sent. Try again in a few minutes.";
    case "LimitExceededException":
    case "TooManyFailedAttemptsException":
      return "Too many attempts. Wait an hour, then send another code.";
    default:
      return signInProblem(error);
  }
}

function notAuthorized(message: string): string {
  // These differ only in Cognito's message.
  if (/attempts exceeded/i.test(message)) {
    return "Too many wrong passwords. Wait 15 minutes, then try again.";
  }
  if (/temporary password has expired/i.test(message)) {
    return "Your one-time password has expired. Ask an owner of this Storyloom to invite you again.";
  }
  if (/disabled/i.test(message)) {
    return "This account is disabled. Ask an owner of this Storyloom.";
  }
  if (/session/i.test(message)) {
    return "That took too long, so the sign-in was cancelled. Start again with your one-time password.";
  }
  return "The e-mail address or the password is not right.";
}
