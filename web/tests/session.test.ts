// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Api, ApiError, problemOf } from "../src/api/client";
import { Cognito, CognitoError, resetProblem, signInProblem } from "../src/api/cognito";
import { Session, SignInExpired } from "../src/api/session";
import { type Reply, TestServer } from "./test-server";

const ANSWER_ID = "11111111-2222-4333-8444-555555555555";
const EMAIL = "writer@example.com";
const idToken = (name: string) =>
  `e30.${btoa(JSON.stringify({ email: EMAIL, name })).replace(/=+$/, "")}.c2ln`;
const tokens = (name: string, refresh?: string): Reply => ({
  body: { AuthenticationResult: { IdToken: idToken(name), RefreshToken: refresh, ExpiresIn: 3600 } },
});
const refused = (message: string): Reply => ({
  status: 400,
  body: { __type: "com.amazonaws.cognito#NotAuthorizedException", message },
});

let server: TestServer;
let now: number;
let session: Session;

beforeEach(async () => {
  server = await TestServer.start();
  now = 0;
  sessionStorage.clear();
  session = new Session(new Cognito(server.url, "page"), sessionStorage, () => now);
});
afterEach(() => server.stop());

describe("Session", () => {
  it("signs in and keeps the ID token out of the storage", async () => {
    server.replies(tokens("one", "refresh-1"));
    expect(await session.signIn(EMAIL, "secret")).toBeNull();
    expect(await session.token()).toBe(idToken("one"));
    expect(session.email).toBe(EMAIL);
    expect(JSON.stringify({ ...sessionStorage })).toContain("refresh-1");
    expect(JSON.stringify({ ...sessionStorage })).not.toContain(idToken("one"));
    expect(server.requests[0]).toMatchObject({
      target: "AWSCognitoIdentityProviderService.InitiateAuth",
      body: {
        ClientId: "page",
        AuthFlow: "USER_PASSWORD_AUTH",
        AuthParameters: { USERNAME: EMAIL, PASSWORD: "secret" },
      },
    });
  });

  it("answers the first sign-in's challenge under the name that Cognito gave", async () => {
    server.replies(
      {
        body: {
          ChallengeName: "NEW_PASSWORD_REQUIRED",
          Session: "s",
          ChallengeParameters: { USER_ID_FOR_SRP: "u-1" },
        },
      },
      tokens("one", "refresh-1"),
    );
    const challenge = await session.signIn(EMAIL, "first");
    expect(challenge).toEqual({ name: "NEW_PASSWORD_REQUIRED", session: "s", username: "u-1" });
    expect(session.isStored).toBe(false);
    if (challenge !== null) await session.setFirstPassword(challenge, "own");
    expect(server.requests[1]?.body).toMatchObject({
      ChallengeName: "NEW_PASSWORD_REQUIRED",
      Session: "s",
      ChallengeResponses: { USERNAME: "u-1", NEW_PASSWORD: "own" },
    });
    expect(session.isStored).toBe(true);
  });

  it("renews the token shortly before its end, once for all who ask", async () => {
    server.replies(tokens("one", "refresh-1"), tokens("two"));
    await session.signIn(EMAIL, "secret");
    now = 3539_000;
    expect(await session.token()).toBe(idToken("one"));
    now = 3541_000;
    const both = await Promise.all([session.token(), session.token()]);
    expect(both).toEqual([idToken("two"), idToken("two")]);
    expect(server.requests).toHaveLength(2);
    expect(server.requests[1]?.body).toMatchObject({
      AuthFlow: "REFRESH_TOKEN_AUTH",
      AuthParameters: { REFRESH_TOKEN: "refresh-1" },
    });
    expect(session.isStored).toBe(true);
  });

  it("ends when Cognito refuses to renew, and not when it merely fails", async () => {
    sessionStorage.setItem("storyloom.refresh-token", "refresh-1");
    server.replies(
      { status: 500, body: { __type: "InternalErrorException", message: "x" } },
      refused("Refresh Token has expired"),
    );
    await expect(session.token()).rejects.toThrow(CognitoError);
    expect(session.isStored).toBe(true);
    await expect(session.token()).rejects.toThrow(SignInExpired);
    expect(session.isStored).toBe(false);
  });

  it("signs out here and revokes the token there, even if that fails", async () => {
    server.replies(tokens("one", "refresh-1"), { status: 500, body: {} });
    await session.signIn(EMAIL, "secret");
    await session.signOut();
    expect(server.requests[1]).toMatchObject({
      target: "AWSCognitoIdentityProviderService.RevokeToken",
      body: { Token: "refresh-1" },
    });
    expect(session.isStored).toBe(false);
    await expect(session.token()).rejects.toThrow(SignInExpired);
  });
});

describe("A forgotten password", () => {
  it("is reset with a code, by the names that Cognito has for it", async () => {
    server.replies({ body: { CodeDeliveryDetails: {} } }, { body: {} });
    await session.sendResetCode(EMAIL);
    await session.resetPassword(EMAIL, "123456", "Own-password-2");
    expect(server.requests).toMatchObject([
      {
        target: "AWSCognitoIdentityProviderService.ForgotPassword",
        body: { ClientId: "page", Username: EMAIL },
      },
      {
        target: "AWSCognitoIdentityProviderService.ConfirmForgotPassword",
        body: { Username: EMAIL, ConfirmationCode: "123456", Password: "Own-password-2" },
      },
    ]);
    expect(session.isStored).toBe(false);
  });

  it.each([
    ["CodeMismatchException", "", /not the code/],
    ["ExpiredCodeException", "", /Send another one/],
    ["NotAuthorizedException", "User password cannot be reset in the current state.", /one-time password/],
    ["NotAuthorizedException", "User is disabled.", /disabled/],
    ["InvalidParameterException", "no registered/verified email", /never confirmed/],
    ["LimitExceededException", "Attempt limit exceeded", /Wait an hour/],
    ["InvalidPasswordException", "Password must have symbols", /must have symbols/],
  ])("says what helps against %s: %s", (code, message, expected) => {
    expect(resetProblem(new CognitoError(code, message))).toMatch(expected);
  });

  it("tells a lost connection from a wrong code", () => {
    expect(resetProblem(new TypeError("fetch failed"))).toMatch(/cannot be reached/);
  });
});

describe("signInProblem", () => {
  it.each([
    ["Incorrect username or password.", /password is not right/],
    ["Password attempts exceeded", /Too many wrong passwords/],
    ["Temporary password has expired and must be reset by an administrator.", /one-time password has expired/],
    ["User is disabled.", /disabled/],
    ["Invalid session for the user, session is expired.", /Start again/],
  ])("explains %s", (message, expected) => {
    expect(signInProblem(new CognitoError("NotAuthorizedException", message))).toMatch(expected);
  });

  it("passes on the rule that a new password breaks", () => {
    const error = new CognitoError("InvalidPasswordException", "Password must have numeric characters");
    expect(signInProblem(error)).toContain("Password must have numeric characters");
  });

  it("tells a lost connection from a wrong password", () => {
    expect(signInProblem(new TypeError("fetch failed"))).toMatch(/cannot be reached/);
  });
});

describe("Api", () => {
  let expired: number;
  let api: Api;
  const source = (...names: string[]) => ({
    token: async () => names[0] ?? "",
    renew: async () => names[1] ?? "",
  });
  beforeEach(() => {
    expired = 0;
    api = new Api(source("old", "new"), () => (expired += 1), server.url);
  });

  it("sends the token and reads the body", async () => {
    server.replies({ body: { runs: [{ run_id: "r", status: "running" }] } });
    expect(await api.runs()).toEqual([{ run_id: "r", status: "running" }]);
    expect(server.requests[0]).toMatchObject({ path: "/api/runs", authorization: "Bearer old" });
  });

  it("renews once after a 401", async () => {
    server.replies({ status: 401, body: {} }, { body: { stories: [] } });
    expect(await api.stories()).toEqual([]);
    expect(server.requests.map((request) => request.authorization)).toEqual(["Bearer old", "Bearer new"]);
    expect(expired).toBe(0);
  });

  it("sends the body once more with the new token", async () => {
    server.replies({ status: 401, body: {} }, { status: 201, body: {} });
    await api.makeKey({ name: "nightly", scopes: ["chat"] });
    expect(server.requests.map((request) => [request.authorization, request.body])).toEqual([
      ["Bearer old", { name: "nightly", scopes: ["chat"] }],
      ["Bearer new", { name: "nightly", scopes: ["chat"] }],
    ]);
  });

  it("keeps the folders of a story's key", async () => {
    server.replies({ body: { key: "k", message: "Gone." } });
    expect(await api.deleteStory("winter/old & new?.txt")).toBe("Gone.");
    expect(server.requests[0]?.path).toBe("/api/stories/winter/old%20%26%20new%3F.txt");
  });

  it("asks to sign in after a second 401", async () => {
    server.replies({ status: 401, body: {} }, { status: 401, body: {} });
    await expect(api.stories()).rejects.toThrow(SignInExpired);
    expect(expired).toBe(1);
  });

  it("keeps message and cure of an error", async () => {
    const error = { type: "prompt_too_long", message: "The chat has 9 characters.", cure: "Shorten it." };
    server.replies({ status: 413, body: { error } });
    const problem = await api.status().catch(problemOf);
    expect(problem).toEqual({ message: error.message, cure: error.cure });
  });

  it("reads how long a waking model needs", async () => {
    const error = { type: "model_asleep", message: "m", cure: "c", stage: "asleep", expected_seconds: 240 };
    server.replies({ status: 503, body: { error }, headers: { "Retry-After": "30" } });
    const thrown = await api
      .chat({ model: "base", messages: [] }, ANSWER_ID, new AbortController().signal)
      .catch((e: unknown) => e);
    expect(thrown).toBeInstanceOf(ApiError);
    expect(thrown).toMatchObject({ retryAfter: 30, waking: { stage: "asleep", expectedSeconds: 240 } });
  });

  it("says something sensible about an answer that is not its own", async () => {
    server.replies({ status: 502, text: "<html>Bad gateway</html>" });
    expect(await api.status().catch(problemOf)).toEqual({
      message: "The server answered with status 502.",
      cure: null,
    });
  });

  it("sees an error in the body of an answer that had begun", async () => {
    const error = { type: "internal_error", message: "It went wrong.", cure: "Try again." };
    server.replies({ status: 200, text: `   ${JSON.stringify({ error })}` });
    expect(await api.stories().catch(problemOf)).toEqual({ message: error.message, cure: error.cure });
  });

  it("asks under the answer's id and cancels by it with the same token, without waiting", async () => {
    server.replies({ text: "data: [DONE]\n\n" }, { status: 202 });
    await api.chat({ model: "base", messages: [] }, ANSWER_ID, new AbortController().signal);
    expect(server.requests[0]?.answerId).toBe(ANSWER_ID);
    api.cancelAnswer(ANSWER_ID);
    await expect.poll(() => server.requests.length).toBe(2);
    expect(server.requests[1]).toMatchObject({
      path: `/api/v1/answers/${ANSWER_ID}/cancel`,
      authorization: "Bearer old",
    });
  });

  it("cancels with a new token where the newest has expired", async () => {
    server.replies({ body: { runs: [] } }, { status: 401 }, { status: 202 });
    await api.runs();
    api.cancelAnswer(ANSWER_ID);
    await expect.poll(() => server.requests.length).toBe(3);
    expect(server.requests.slice(1).map((request) => request.authorization)).toEqual([
      "Bearer old",
      "Bearer new",
    ]);
  });

  it("cancels nothing before the first request, and minds no lost connection", async () => {
    api.cancelAnswer(ANSWER_ID);
    server.replies({ body: { runs: [] } });
    await api.runs();
    expect(server.requests).toHaveLength(1);
    await server.stop();
    api.cancelAnswer(ANSWER_ID);
  });

  it("calls a lost connection by its name", async () => {
    await server.stop();
    expect(await api.status().catch(problemOf)).toMatchObject({ message: "Storyloom cannot be reached." });
  });
});
