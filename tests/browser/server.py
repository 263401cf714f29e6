"""A small real server that speaks the page's contracts: config.json, Cognito, S3's presigned POST, `/api`.

With it the page is tested alone, in situations that are rare with the whole cloud: a model that wakes, a
sign-in that expires, a run that failed. `docs/openapi.json` describes what it speaks.
"""

import asyncio
import base64
import email
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_api.dependencies.responses import HEADERS
from tests.browser import samples

Json = dict[str, Any]

EMAIL = "writer@example.com"
PASSWORD = "Warp-and-weft-9"
FIRST_PASSWORD = "First-password-1"
RESET_CODE = "271828"
REFRESH_TOKEN = "refresh"
MADE_KEY = "sl-9d8e7f6a5b4c-Zm9yLXRlc3RzLW9ubHk"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Answers:
    """The model's answers. A test can release them word by word, so that it does not depend on timing."""

    def __init__(self) -> None:
        """Begin with one short answer for each model, sent at once."""
        self.words: dict[str, list[str]] = {
            "storyloom": [
                "The ",
                "tide ",
                "went ",
                "out, ",
                "and ",
                "Ilse ",
                "with ",
                "it.\n\n",
                "Nobody ",
                "spoke.",
            ],
            "base": ["Once ", "upon ", "a ", "time, ", "the ", "end."],
        }
        self.finish = "stop"
        self.requests: list[Json] = []
        self.ids: list[str | None] = []
        """The `X-Answer-Id` of each request."""
        self.cancelled: list[str] = []
        self._released = threading.Semaphore(0)
        self._is_open = threading.Event()
        self._is_open.set()

    def hold(self) -> None:
        """Send no word until `release`."""
        self._is_open.clear()

    def release(self, words: int) -> None:
        """Send that many more words."""
        self._released.release(words)

    def release_all(self) -> None:
        """Send everything from now on."""
        self._is_open.set()

    def acquire_next_word(self) -> bool:
        """Tell whether the next word may be sent, and count it."""
        return self._is_open.is_set() or self._released.acquire(blocking=False)


class Directory:
    """The people, the permissions of the one who is signed in, and the audit trail."""

    def __init__(self) -> None:
        """Begin with an owner and nobody else."""
        self.scopes = ["chat", "read", "write", "keys", "people"]
        self.scopes_refusal: tuple[int, Json] | None = None
        self.people: list[Json] = []
        self.refusal: tuple[int, Json] | None = None
        """The error with which a change is refused."""
        self.audit: list[Json] = []
        self.asked: list[str] = []
        """Method and path of each signed-in request, in order."""


class StoryloomServer:
    """The server, with what a test may set or check. Attributes may change while it runs."""

    def __init__(self, page: Path) -> None:
        """Serve the built page in the folder `page` on a free port of this machine; `start` begins."""
        self.answers = Answers()
        self.waking: Json | None = None
        """The error of the 503 that chat requests get while the model wakes."""
        self.chat_error: tuple[int, Json] | None = None
        self.status: Json = {}
        self.runs: list[Json] = []
        self.answers_given: list[tuple[str, str]] = []
        """Run and `approve` or `decline`, in their order."""
        self.answer_refusal: Json | None = None
        """The error of a 409 to an answer, because another was first."""
        self.models: list[Json] = []
        self.decisions: list[tuple[str, str]] = []
        """Version and `approve`, `reject` or `activate`, in their order."""
        self.decision_refusal: Json | None = None
        """The error of a 409 to a decision."""
        self.stories: list[Json] = []
        self.uploads: dict[str, bytes] = {}
        self.upload_refusal: tuple[int, str] | None = None
        self.wakes = 0
        self.sleeps = 0
        self.sleep_refusal: tuple[int, Json] | None = None
        self.stopped: list[str] = []
        """Runs that were asked to stop, in their order."""
        self.resumed: list[str] = []
        """Runs that were resumed, in their order."""
        self.stop_refusal: tuple[int, Json] | None = None
        self.starts = 0
        self.starts_again = 0
        self.delete_refusal: tuple[int, Json] | None = None
        self.keys: list[Json] = []
        self.costs: dict[str, Json] = {}
        """By month, such as `2026-09`; other months have no costs."""
        self.keys_wanted: list[Json] = []
        self.key_refusal: tuple[int, Json] | None = None
        self.directory = Directory()
        self.sign_ins_valid = True
        self.refreshes = 0
        self.must_choose_password = False
        self.password = PASSWORD
        self.codes_sent_to: list[str] = []
        self._page = page
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self._app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > deadline:
                raise TimeoutError("The test server did not start within 10 s.")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop to serve, and end answers that are held."""
        self.answers.release_all()
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    def _app(self) -> ASGIApp:
        routes = [
            Route("/config.json", self._config),
            Route("/aws/cognito-idp/", self._cognito, methods=["POST"]),
            Route("/aws/s3/stories", self._s3, methods=["POST"]),
            Route("/api/status", self._authorized(self._status)),
            Route("/api/wake", self._authorized(self._wake), methods=["POST"]),
            Route("/api/sleep", self._authorized(self._sleep), methods=["POST"]),
            Route("/api/v1/chat/completions", self._authorized(self._chat), methods=["POST"]),
            Route("/api/v1/answers/{answer_id}/cancel", self._authorized(self._cancel), methods=["POST"]),
            Route("/api/runs", self._authorized(self._runs), methods=["GET"]),
            Route("/api/runs", self._authorized(self._start), methods=["POST"]),
            Route("/api/runs/{run_id}", self._authorized(self._run)),
            Route("/api/runs/{run_id}/stop", self._authorized(self._stop), methods=["POST"]),
            Route("/api/runs/{run_id}/resume", self._authorized(self._resume), methods=["POST"]),
            Route("/api/runs/{run_id}/{answer}", self._authorized(self._answer), methods=["POST"]),
            Route("/api/models", self._authorized(self._models)),
            Route("/api/models/{version}/{decision}", self._authorized(self._decide), methods=["POST"]),
            Route("/api/stories", self._authorized(self._stories), methods=["GET"]),
            Route("/api/stories", self._authorized(self._upload_form), methods=["POST"]),
            Route("/api/stories/{key:path}", self._authorized(self._delete), methods=["DELETE"]),
            Route("/api/me", self._authorized(self._me)),
            Route("/api/people", self._authorized(self._people), methods=["GET"]),
            Route("/api/people", self._authorized(self._invite), methods=["POST"]),
            Route("/api/people/{person_id}", self._authorized(self._change_person), methods=["PATCH"]),
            Route("/api/people/{person_id}", self._authorized(self._remove_person), methods=["DELETE"]),
            Route("/api/audit", self._authorized(self._audit)),
            Route("/api/costs", self._authorized(self._costs)),
            Route("/api/keys", self._authorized(self._keys), methods=["GET"]),
            Route("/api/keys", self._authorized(self._make_key), methods=["POST"]),
            Route("/api/keys/{key_id}", self._authorized(self._revoke), methods=["DELETE"]),
            Mount("/", StaticFiles(directory=self._page, html=True)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(_SecurityHeaders)])

    async def _config(self, _: Request) -> Response:
        return JSONResponse(
            {
                "region": "eu-west-1",
                "user_pool_client_id": "page",
                "cognito_endpoint": f"{self.url}/aws/cognito-idp/",
            }
        )

    async def _cognito(self, request: Request) -> Response:
        action = request.headers["X-Amz-Target"].removeprefix("AWSCognitoIdentityProviderService.")
        body = await request.json()
        if action in {"ForgotPassword", "ConfirmForgotPassword"}:
            return self._reset(body)
        always = {"RevokeToken": {}, "RespondToAuthChallenge": {"AuthenticationResult": _tokens()}}
        if action in always:
            return JSONResponse(always[action])
        if body["AuthFlow"] == "REFRESH_TOKEN_AUTH":
            return self._refresh()
        given = body["AuthParameters"]
        if given == {"USERNAME": EMAIL, "PASSWORD": FIRST_PASSWORD} and self.must_choose_password:
            challenge = {"ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": "s", "ChallengeParameters": {}}
            return JSONResponse(challenge)
        if given == {"USERNAME": EMAIL, "PASSWORD": self.password}:
            self.sign_ins_valid = True
            return JSONResponse({"AuthenticationResult": _tokens()})
        return _cognito_refusal("Incorrect username or password.")

    def _reset(self, given: Json) -> Response:
        if "ConfirmationCode" not in given:
            self.codes_sent_to.append(given["Username"])
            return JSONResponse({"CodeDeliveryDetails": {"Destination": "w***@e***"}})
        if given["ConfirmationCode"] != RESET_CODE:
            return _cognito_refusal("Invalid verification code provided", "CodeMismatchException")
        self.password = given["Password"]
        return JSONResponse({})

    def _refresh(self) -> Response:
        if not self.sign_ins_valid:
            return _cognito_refusal("Refresh Token has expired")
        self.refreshes += 1
        tokens = _tokens()
        del tokens["RefreshToken"]
        return JSONResponse({"AuthenticationResult": tokens})

    def _authorized(self, route: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def checked(request: Request) -> Response:
            token = request.headers.get("Authorization", "")
            if not token.startswith("Bearer ") or not self.sign_ins_valid:
                return _error(401, "unauthorized", "The sign-in is missing or has expired.", "Sign in again.")
            self.directory.asked.append(f"{request.method} {request.url.path}")
            response: Response = await route(request)
            return response

        return checked

    async def _status(self, _: Request) -> Response:
        return JSONResponse(self.status)

    async def _wake(self, _: Request) -> Response:
        self.wakes += 1
        self.status["hosting"]["status"] = "waking"
        return JSONResponse(self.status["hosting"], status_code=202)

    async def _sleep(self, _: Request) -> Response:
        if self.sleep_refusal is not None:
            return _refused(self.sleep_refusal)
        self.sleeps += 1
        self.status["hosting"].update(status="asleep", instance=None)
        return JSONResponse(self.status["hosting"], status_code=202)

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.answers.requests.append(body)
        self.answers.ids.append(request.headers.get("X-Answer-Id"))
        if self.chat_error is not None:
            status, error = self.chat_error
            return JSONResponse({"error": error}, status_code=status)
        if self.waking is not None:
            return JSONResponse({"error": self.waking}, status_code=503, headers={"Retry-After": "1"})
        return StreamingResponse(self._stream(body["model"]), media_type="text/event-stream")

    async def _stream(self, model: str) -> AsyncIterator[str]:
        answering = {"storyloom": "v2"}.get(model, model)
        for word in self.answers.words[model]:
            while not self.answers.acquire_next_word():
                await asyncio.sleep(0.01)
            yield _event(answering, {"content": word}, None)
        yield _event(answering, {}, self.answers.finish)
        yield "data: [DONE]\n\n"

    async def _cancel(self, request: Request) -> Response:
        answer_id = request.path_params["answer_id"]
        self.answers.cancelled.append(answer_id)
        return JSONResponse({"answer_id": answer_id, "message": "It ends."}, status_code=202)

    async def _runs(self, _: Request) -> Response:
        return JSONResponse({"runs": self.runs})

    async def _run(self, request: Request) -> Response:
        wanted = request.path_params["run_id"]
        for run in self.runs:
            if run["run_id"] == wanted:
                return JSONResponse(run)
        return _error(404, "no_such_run", f"There is no run {wanted}.", "Pick one from the list.")

    async def _start(self, request: Request) -> Response:
        self.starts += 1
        body = await request.body()
        self.starts_again += bool(body and json.loads(body)["again"])
        going = self.runs[0]["run_id"]
        message = f"Run {going} is in progress; one more run follows it."
        return JSONResponse({"started": False, "run_id": going, "message": message}, status_code=202)

    async def _resume(self, request: Request) -> Response:
        run_id = request.path_params["run_id"]
        self.resumed.append(run_id)
        started = {"started": True, "run_id": run_id, "message": f"Run {run_id} goes on in Evaluate."}
        return JSONResponse(started, 202)

    async def _stop(self, request: Request) -> Response:
        if self.stop_refusal is not None:
            return _refused(self.stop_refusal)
        run_id = request.path_params["run_id"]
        self.stopped.append(run_id)
        message = f"Run {run_id} is being stopped."
        return JSONResponse({"run_id": run_id, "message": message}, status_code=202)

    async def _answer(self, request: Request) -> Response:
        if self.answer_refusal is not None:
            return JSONResponse({"error": self.answer_refusal}, status_code=409)
        run_id, answer = request.path_params["run_id"], request.path_params["answer"]
        self.answers_given.append((run_id, answer))
        (run,) = [run for run in self.runs if run["run_id"] == run_id]
        # As the API does: the run is recorded as running until its next state has begun.
        run.update(status="running", message=f"{EMAIL} said {answer}.")
        return JSONResponse(run)

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"models": self.models})

    async def _decide(self, request: Request) -> Response:
        if self.decision_refusal is not None:
            return JSONResponse({"error": self.decision_refusal}, status_code=409)
        version, decision = request.path_params["version"], request.path_params["decision"]
        self.decisions.append((version, decision))
        (model,) = [model for model in self.models if model["version"] == version]
        # As the API does: a version that is to answer is hosted first, and only then live.
        model["status"] = "rejected" if decision == "reject" else "approved"
        return JSONResponse({"message": f"{version}: {decision} it is.", "model": model})

    async def _stories(self, _: Request) -> Response:
        return JSONResponse({"stories": self.stories})

    async def _delete(self, request: Request) -> Response:
        if self.delete_refusal is not None:
            return _refused(self.delete_refusal)
        key = request.path_params["key"]
        self.stories = [story for story in self.stories if story["key"] != key]
        back = f"aws s3api delete-object --bucket stories --key {key} --version-id 1"
        return JSONResponse({"key": key, "message": f"{key} is deleted. To restore it: {back}"})

    async def _me(self, _: Request) -> Response:
        if self.directory.scopes_refusal is not None:
            return _refused(self.directory.scopes_refusal)
        return JSONResponse({"id": "u1", "name": EMAIL, "scopes": self.directory.scopes})

    async def _people(self, _: Request) -> Response:
        return JSONResponse({"people": self.directory.people})

    async def _invite(self, request: Request) -> Response:
        if self.directory.refusal is not None:
            return _refused(self.directory.refusal)
        invited = {
            **self.directory.people[0],
            **await request.json(),
            "id": "u9",
            "you": False,
            "has_signed_in": False,
        }
        self.directory.people.append(invited)
        return JSONResponse(invited, status_code=201)

    async def _change_person(self, request: Request) -> Response:
        if self.directory.refusal is not None:
            return _refused(self.directory.refusal)
        (person,) = [one for one in self.directory.people if one["id"] == request.path_params["person_id"]]
        person.update(await request.json())
        return JSONResponse(person)

    async def _remove_person(self, request: Request) -> Response:
        if self.directory.refusal is not None:
            return _refused(self.directory.refusal)
        (person,) = [one for one in self.directory.people if one["id"] == request.path_params["person_id"]]
        self.directory.people.remove(person)
        return JSONResponse(person)

    async def _audit(self, _: Request) -> Response:
        return JSONResponse({"entries": self.directory.audit, "next_before": None})

    async def _costs(self, request: Request) -> Response:
        month = request.query_params["month"]
        return JSONResponse(self.costs.get(month) or samples.costs(month, []))

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": self.keys})

    async def _make_key(self, request: Request) -> Response:
        if self.key_refusal is not None:
            return _refused(self.key_refusal)
        wanted = await request.json()
        self.keys_wanted.append(wanted)
        key = {
            **wanted,
            "key_id": "9d8e7f6a5b4c",
            "created_by": "u1",
            "created_by_email": EMAIL,
            "created_at": "2026-09-30T18:04:05.123Z",
            "expires_at": "2099-12-31T00:00:00.000Z",
            "revoked_at": None,
            "last_used_on": None,
        }
        self.keys.insert(0, key)
        return JSONResponse({**key, "key": MADE_KEY}, status_code=201)

    async def _revoke(self, request: Request) -> Response:
        if self.key_refusal is not None:
            return _refused(self.key_refusal)
        (key,) = [key for key in self.keys if key["key_id"] == request.path_params["key_id"]]
        key["revoked_at"] = "2026-09-30T18:10:00.000Z"
        return JSONResponse(key)

    async def _upload_form(self, request: Request) -> Response:
        body = await request.json()
        fields = {"key": body["name"], "policy": "signed-policy", "x-amz-signature": "signature"}
        return JSONResponse({"url": f"{self.url}/aws/s3/stories", "fields": fields, "key": body["name"]})

    async def _s3(self, request: Request) -> Response:
        if self.upload_refusal is not None:
            status, code = self.upload_refusal
            return Response(f"<Error><Code>{code}</Code></Error>", status_code=status)
        form = _form(request.headers["Content-Type"], await request.body())
        # As on S3, what follows the file is ignored and what it needs comes before.
        if list(form)[-1] != "file" or "policy" not in form:
            return Response("<Error><Code>InvalidArgument</Code></Error>", status_code=400)
        key, content = form["key"].decode(), form["file"]
        self.uploads[key] = content
        self.stories.insert(0, {"key": key, "size": len(content), "modified_at": "2026-09-30T18:04:05.123Z"})
        return Response(status_code=204)


class _SecurityHeaders:
    """Adds the security headers that CloudFront and the API send."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The API's answers have what the API and CloudFront give them, the page what its policy says.
                page = {
                    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                    "X-Content-Type-Options": "nosniff",
                }
                headers = HEADERS if scope["path"].startswith("/api/") else page
                named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                message["headers"].extend(named)
            await send(message)

        await self._app(scope, receive, with_headers)


def _form(content_type: str, body: bytes) -> dict[str, bytes]:
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = [part for part in message.walk() if not part.is_multipart()]
    fields = {str(part.get_param("name", header="content-disposition")): part for part in parts}
    return {name: bytes(part.get_payload(decode=True) or b"") for name, part in fields.items()}


def _event(model: str, delta: Json, finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"


def _tokens() -> Json:
    claims = base64.urlsafe_b64encode(json.dumps({"email": EMAIL}).encode()).decode().rstrip("=")
    return {"IdToken": f"e30.{claims}.c2ln", "RefreshToken": REFRESH_TOKEN, "ExpiresIn": 3600}


def _cognito_refusal(message: str, kind: str = "NotAuthorizedException") -> Response:
    return JSONResponse({"__type": kind, "message": message}, status_code=400)


def _refused(refusal: tuple[int, Json]) -> Response:
    status, error = refusal
    return JSONResponse({"error": error}, status_code=status)


def _error(status: int, kind: str, message: str, cure: str) -> Response:
    return JSONResponse({"error": {"type": kind, "message": message, "cure": cure}}, status_code=status)
