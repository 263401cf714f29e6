"""Signing in, against a real HTTP server that speaks Cognito's wire format."""

import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.api.connection import connect, keep_file, sign_in, sign_in_and_keep
from cli.console import CommandError


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        cognito = f"http://{self.headers['Host']}/aws/cognito-idp/"
        self._answer(200, {"user_pool_client_id": "client", "cognito_endpoint": cognito})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        given = asked["AuthParameters"]
        if asked["AuthFlow"] == "REFRESH_TOKEN_AUTH":
            self._answer(200, {"AuthenticationResult": {"IdToken": f"renewed by {given['REFRESH_TOKEN']}"}})
        elif given["PASSWORD"] == "first time":
            self._answer(200, {"ChallengeName": "NEW_PASSWORD_REQUIRED"})
        elif given["PASSWORD"] != "right":
            self._answer(400, {"message": "Incorrect username or password."})
        else:
            self._answer(200, {"AuthenticationResult": {"IdToken": "id", "RefreshToken": "refresh"}})

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_a_right_password_gives_a_connection(url: str) -> None:
    assert sign_in(url + "/", "a@b.c", "right").headers == {"Authorization": "Bearer id"}


@pytest.mark.parametrize(("password", "words"), [("wrong", "Incorrect"), ("first time", "new password")])
def test_what_stops_a_sign_in_is_said_with_its_cure(url: str, password: str, words: str) -> None:
    with pytest.raises(CommandError) as refused:
        sign_in(url, "a@b.c", password)
    assert words in refused.value.message
    assert refused.value.cure


def test_a_page_that_is_not_there_is_named() -> None:
    with pytest.raises(CommandError, match=r"config\.json"):
        sign_in("http://127.0.0.1:9", "a@b.c", "right")


def test_login_keeps_the_refresh_token_alone_and_for_its_owner_only(url: str, tmp_path: Path) -> None:
    kept = sign_in_and_keep(url, "a@b.c", "right")
    assert kept == keep_file()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    place = {"url": url, "endpoint": f"{url}/aws/cognito-idp/", "client_id": "client"}
    assert json.loads(kept.read_text()) == {**place, "refresh_token": "refresh"}
    assert connect(tmp_path / "no cloud here").id_token == "renewed by refresh"


def test_without_any_storyloom_the_way_to_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refused:
        connect(tmp_path / "no cloud here")
    assert "make run" in refused.value.cure
