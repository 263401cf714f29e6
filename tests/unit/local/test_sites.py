"""Which requests of a browser are our own page's."""

import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from local.aws.web.sites import PortGuard, Site

PAGE = Site.on_loopback(8400, "http")
AWS = Site.on_loopback(4566, "https", also=PAGE)


def raw(**headers: str) -> list[tuple[bytes, bytes]]:
    given = {"host": "localhost:8400", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return [(name.encode(), value.encode("latin-1")) for name, value in given.items()]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.1:8400"},
        {"host": "LOCALHOST:8400"},
        {"host": "[::1]:8400"},
        {"origin": "http://localhost:8400", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none", "sec_fetch_mode": "navigate"},
    ],
)
def test_programs_and_our_own_page_are_allowed(headers: dict[str, str]) -> None:
    assert PAGE.refusal(raw(**headers)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8400"},
        {"host": "localhost"},
        {"host": "localhost:84000"},
        {"host": "localhost:8400.evil.example"},
        {"host": ""},
        {"host": "\xff"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://localhost:8400"},
        {"origin": "http://localhost:3000", "sec_fetch_site": "same-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "something new"},
    ],
)
def test_everything_else_is_refused_with_a_reason(headers: dict[str, str]) -> None:
    assert PAGE.refusal(raw(**headers))


def test_two_hosts_or_none_are_refused() -> None:
    assert PAGE.refusal([*raw(), (b"Host", b"localhost:8400")])
    assert PAGE.refusal([])
    assert PAGE.refusal([*raw(origin="http://localhost:8400"), (b"Origin", b"http://evil.example")])


@pytest.fixture
def guarded() -> Iterator[str]:
    """A server that lets every site read its answers, as vLLM does, behind the guard of its own port."""

    async def greet(_: Request) -> PlainTextResponse:
        return PlainTextResponse("Once upon a hill")

    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    app = Starlette(
        routes=[
            Route("/invocations", greet, methods=["GET", "POST"]),
            WebSocketRoute("/v1/realtime", listen),
        ]
    )
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(PortGuard)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_guarded_server_accepts_only_programs(guarded: str) -> None:
    with httpx.Client(base_url=guarded, trust_env=False) as client:
        assert client.post("/invocations", json={}).text == "Once upon a hill"
        preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        for headers in (
            {"Host": "evil.example"},
            {"Host": f"evil.example:{client.base_url.port}"},
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            refused = client.post("/invocations", json={}, headers=headers)
            assert refused.status_code == 403, headers
            assert "access-control-allow-origin" not in refused.headers
        assert client.options("/invocations", headers=preflight).status_code == 403


@pytest.mark.parametrize("origin", [{}, {"Origin": "http://evil.example"}])
def test_nobody_opens_a_websocket(guarded: str, origin: dict[str, str]) -> None:
    """A browser asks no leave for one: it opens it for a page of any site."""
    wanted = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with httpx.Client(base_url=guarded, trust_env=False) as client:
        assert client.get("/v1/realtime", headers={**wanted, **origin}).status_code == 403


def test_a_link_opens_a_page_in_a_tab_and_nothing_else() -> None:
    click = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert PAGE.refusal(raw(**click), document=True) is None
    assert PAGE.refusal(raw(**click))
    for changed in ({"sec_fetch_dest": "iframe"}, {"sec_fetch_mode": "no-cors"}, {"origin": "null"}):
        assert PAGE.refusal(raw(**{**click, **changed}), document=True)


def test_the_page_may_call_aws_but_not_the_reverse() -> None:
    assert AWS.refusal(raw(host="127.0.0.1:4566", origin="http://localhost:8400")) is None
    assert PAGE.refusal(raw(origin="https://127.0.0.1:4566"))


def test_a_distributions_host_is_allowed_for_its_own_request_only() -> None:
    name = "d111111abcdef8.cloudfront.net"
    assert AWS.refusal(raw(host=name))
    assert AWS.refusal(raw(host=name), virtual_host=name) is None
