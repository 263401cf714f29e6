"""What gets through the gate before the stand-in for AWS, with nothing behind it but a note of what came."""

import asyncio
import hashlib
from typing import Any, cast

import httpx
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.web import request_signatures
from local.aws.web.request_gate import RequestGate
from local.aws.web.sites import Site

SECRET = "a secret of this cloud"
PAGE = Site.on_loopback(8400, "http")
AWS = Site.on_loopback(4566, "https", also=PAGE)
BASE = "https://127.0.0.1:4566"
DISTRIBUTION = "d111111abcdef8.cloudfront.net"
JSON = {"content-type": "application/x-amz-json-1.1"}
SIGN_IN = {**JSON, "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth"}
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture(autouse=True)
def a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(request_signatures, "names_distribution", lambda host: host == DISTRIBUTION)


class Behind:
    """The application that the gate guards: it answers everything, and lets every site read it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        headers = [(b"access-control-allow-origin", b"*")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"behind"})


def ask(
    method: str, path: str, body: bytes | list[bytes] = b"", **headers: str
) -> tuple[httpx.Response, list[bytes]]:
    """Send one request to the gate; return its answer and the bodies that came through."""
    behind = Behind()
    transport = httpx.ASGITransport(cast(Any, RequestGate(behind, AWS)))
    parts = [body] if isinstance(body, bytes) else body

    async def content() -> Any:
        for part in parts:
            yield part

    async def story() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            url = httpx.URL(BASE).copy_with(raw_path=path.encode())
            sent = b"".join(parts) if len(parts) == 1 else content()
            request = client.build_request(method, url, content=sent, headers=headers)
            return await asyncio.wait_for(client.send(request), 10)

    return asyncio.run(story()), behind.bodies


def signed(service: str, method: str, path: str, body: bytes = b"", **headers: str) -> dict[str, str]:
    request = AWSRequest(method, BASE + path, headers=headers, data=body)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(ACCOUNT, SECRET), service, REGION).add_auth(request)
    return {
        name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/_aws/execute-api/abc/live/api/health", {}),
        ("POST", "/_aws/execute-api/abc/live/api/runs", {"authorization": "Bearer token"}),
        ("OPTIONS", "/_aws/execute-api/abc/live/api/runs", {"origin": "http://localhost:8400"}),
        ("GET", "/", {"host": DISTRIBUTION}),
        ("GET", "/assets/index.js", {"host": DISTRIBUTION}),
        ("POST", "/", SIGN_IN),
        ("GET", "/us-east-1_abc/.well-known/jwks.json", {}),
        ("POST", "/stories-bucket", FORM),
        ("OPTIONS", "/stories-bucket/key", {"origin": "http://localhost:8400"}),
        ("PUT", "/_ministack/cfn-response/token", {}),
    ],
)
def test_requests_that_aws_accepts_unsigned_are_allowed(
    method: str, path: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        request_signatures, "names_bucket", lambda host, path: path.startswith("/stories-bucket")
    )
    answer, bodies = ask(method, path, b"", **headers)
    assert (answer.status_code, len(bodies)) == (200, 1), answer.text


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/_ministack/reset", {}),
        ("POST", "/_ministack/config", {}),
        ("GET", "/_ministack/ses/messages", {}),
        ("GET", "/_ministack/lambda-code/name", {}),
        ("GET", "/_ministack/cfn-response/token", {}),
        ("POST", "/%5Fministack/reset", {}),
        ("POST", "//_ministack/reset", {}),
        ("GET", "/health", {}),
        ("GET", "/_localstack/health", {}),
        ("GET", "/restapis/abc/live/_user_request_/api", {}),
        ("GET", "/oauth2/authorize", {}),
        ("GET", "/v2/_catalog", {}),
        ("GET", "/stories-bucket/novel.txt", {}),
        ("PUT", "/stories-bucket/novel.txt", {}),
        ("POST", "/stories-bucket?policy", FORM),
        ("POST", "/2015-03-31/functions", FORM),
        ("POST", "/no-bucket", FORM),
        ("POST", "/health", FORM),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"}),
        ("POST", "/?Action=CreateStack", SIGN_IN),
        ("POST", "/", {**SIGN_IN, "content-type": "text/plain"}),
        ("POST", "/elsewhere", SIGN_IN),
        ("POST", "/", {**JSON, "x-amz-target": "AWSCognitoIdentityProviderService.AdminCreateUser"}),
        ("POST", "/", {**JSON, "x-amz-target": "DynamoDB_20120810.ListTables"}),
        ("OPTIONS", "/", {}),
        ("OPTIONS", "/", {"origin": "http://localhost:8400"}),
        ("OPTIONS", "/no-bucket/key", {"origin": "http://localhost:8400"}),
        ("POST", "/", {"host": DISTRIBUTION}),
        ("GET", "/v2/_catalog", {"host": DISTRIBUTION}),
        ("POST", "/_ministack/reset", {"host": DISTRIBUTION}),
        ("GET", "/", {"host": f"{DISTRIBUTION}.evil.example"}),
        ("GET", "/", {"host": "d0.cloudfront.net"}),
        ("GET", "/", {"host": "abc.execute-api.us-east-1.amazonaws.com"}),
        ("GET", "/", {"host": "abc.lambda-url.us-east-1.on.aws"}),
        ("GET", "/_aws/execute-api/abc/live/x?X-Amz-Credential=123456789012/a/b/c/d", {}),
        ("POST", "/", {**SIGN_IN, "authorization": "AWS 123456789012:signature"}),
    ],
)
def test_other_unsigned_requests_are_refused(method: str, path: str, headers: dict[str, str]) -> None:
    answer, bodies = ask(method, path, b"", **headers)
    assert answer.status_code >= 400
    assert bodies == []
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("body", [b"", b'{"Limit": 1}', [b'{"Limit"', b": 1}"]])
def test_a_signed_request_arrives_unchanged(body: bytes | list[bytes]) -> None:
    whole = body if isinstance(body, bytes) else b"".join(body)
    target = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.ListTables"}
    answer, bodies = ask("POST", "/", body, **signed("dynamodb", "POST", "/", whole, **target))
    assert (answer.status_code, bodies) == (200, [whole]), answer.text
    assert "access-control-allow-origin" not in answer.headers


def test_a_refusal_does_not_wait_for_a_body_that_was_read() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    right = signed("cloudformation", "POST", "/", b"Action=ListStacks", **form)
    answer, bodies = ask("POST", "/", b"Action=DeleteStack", **right)
    assert (answer.status_code, bodies) == (403, [])
    assert "SignatureDoesNotMatch" in answer.text


@pytest.mark.parametrize("parts", [[b"once ", b"upon"], [b"once upon"]])
def test_an_object_is_streamed_and_arrives_only_if_it_matches_its_signed_hash(parts: list[bytes]) -> None:
    headers = signed("s3", "PUT", "/stories-bucket/key", b"once upon")
    answer, bodies = ask("PUT", "/stories-bucket/key", parts, **headers)
    assert (answer.status_code, bodies) == (200, [b"once upon"])
    answer, bodies = ask("PUT", "/stories-bucket/key", [*parts, b" a time"], **headers)
    assert (answer.status_code, bodies) == (400, [])
    assert "XAmzContentSHA256Mismatch" in answer.text


def test_a_declared_hash_is_trusted_only_if_it_is_signed() -> None:
    headers = signed("s3", "PUT", "/stories-bucket/key", b"once upon")
    name = next(name for name in headers if name.lower() == "x-amz-content-sha256")
    for changed in (hashlib.sha256(b"other").hexdigest(), "UNSIGNED-PAYLOAD"):
        answer, bodies = ask("PUT", "/stories-bucket/key", b"other", **{**headers, name: changed})
        assert (answer.status_code, bodies) == (403, [])


def test_the_health_check_is_only_for_the_own_site() -> None:
    answer, bodies = ask("GET", "/_ministack/health")
    assert (answer.json(), bodies) == ({"status": "up"}, [])
    assert ask("GET", "/_ministack/health", origin="http://evil.example")[0].status_code == 403


def test_a_web_socket_is_closed() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    asyncio.run(RequestGate(Behind(), AWS)({"type": "websocket"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
