"""The command line believes neither the folder it stands in nor the page it asks: each attack is tried."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.api import connection
from cli.api.addresses import bucket_address, page_address, sign_in_endpoint
from cli.api.client import StoryloomApi
from cli.api.connection import Connection, connect, keep_file, sign_in_and_keep
from cli.app import app, main
from cli.commands import batches
from cli.console import CommandError
from cli.user_files import cached_page
from local.aws import private_file
from local.aws.errors import LocalCloudError
from local.aws.processes import MARKER, cloud_id

PAGE = "https://d111111abcdef8.cloudfront.net"
COGNITO = "https://cognito-idp.eu-central-1.amazonaws.com/"
SIGN_IN = {"email": "writer@example.com", "password": "right"}


class _Server(BaseHTTPRequestHandler):
    """Answers as a page with its sign-in would, and remembers everything that was sent to it."""

    seen: list[tuple[str, bytes]]
    config: dict[str, Any]

    def do_GET(self) -> None:
        self.seen.append((self.path, b""))
        self._answer(200, self.config)

    def do_POST(self) -> None:
        self.seen.append((self.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        if self.path == "/api/stories":
            form = {"url": self.config["form"], "fields": {}, "key": "novel.txt"}
            self._answer(200, form)
        elif self.path.endswith("completions"):
            self.send_response(307)
            self.send_header("Location", self.config["elsewhere"])
            self.end_headers()
        else:
            self._answer(200, {"AuthenticationResult": {"IdToken": "id", "RefreshToken": "secret token"}})

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Attacker:
    """A server that should hear nothing."""

    def __init__(self) -> None:
        handler = type("Handler", (_Server,), {"seen": [], "config": {}})
        self._running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._running.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._running.server_address[1]}"
        self.seen: list[tuple[str, bytes]] = handler.seen  # type: ignore[attr-defined]
        self.config: dict[str, Any] = handler.config  # type: ignore[attr-defined]
        self.config |= {
            "region": "us-east-1",
            "user_pool_client_id": "c",
            "cognito_endpoint": f"{self.url}/aws/cognito-idp/",
        }

    def close(self) -> None:
        self._running.shutdown()
        self._running.server_close()


@pytest.fixture
def server() -> Iterator[Attacker]:
    one = Attacker()
    yield one
    one.close()


@pytest.fixture
def other() -> Iterator[Attacker]:
    one = Attacker()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout that the command belongs to, with the user in it."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.setattr(connection, "CHECKOUT", folder)
    monkeypatch.chdir(folder)
    return folder


def record(folder: Path, url: str, mode: int = 0o600, **changed: Any) -> Path:
    path = folder / ".local-cloud" / "cloud.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode)
    path.chmod(mode)
    path.write_text(json.dumps({"url": url, "sign_in": SIGN_IN, "pid": os.getpid(), "port": 1, **changed}))
    return path


@pytest.fixture
def supervisor(checkout: Path) -> Iterator[int]:
    """A process of the checkout's own local cloud."""
    environment = {**os.environ, MARKER: cloud_id(checkout / ".local-cloud")}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment
    ) as process:
        yield process.pid


def test_stories_are_not_sent_to_an_address_from_the_folder(
    server: Attacker, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought = tmp_path / "brought"
    record(brought, server.url)
    (brought / "novel.txt").write_text("Once upon a time.")
    monkeypatch.chdir(brought)
    private_file.write_private_file(keep_file(), json.dumps({"url": PAGE, "refresh_token": "r"}))
    with pytest.raises(CommandError, match=r"cloud\.json does not belong to"):
        CliRunner().invoke(app, ["upload", "novel.txt"], catch_exceptions=False)
    assert server.seen == []


def test_a_link_to_another_folders_record_is_refused(
    server: Attacker, checkout: Path, tmp_path: Path
) -> None:
    record(tmp_path / "brought", server.url)
    (checkout / ".local-cloud").symlink_to(tmp_path / "brought" / ".local-cloud")
    with pytest.raises(CommandError, match="not running any more"):
        connect()
    assert server.seen == []


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_record_that_others_may_change_is_not_read(
    server: Attacker, checkout: Path, supervisor: int, mode: int
) -> None:
    record(checkout, server.url, mode, pid=supervisor)
    with pytest.raises(LocalCloudError, match="other users"):
        connect()
    assert server.seen == []


def test_another_users_record_is_not_read(
    server: Attacker, checkout: Path, supervisor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(checkout, server.url, pid=supervisor)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(LocalCloudError, match="another user"):
        connect()
    assert server.seen == []


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1, -1, "1", None])
def test_a_record_without_a_running_process_is_stale(server: Attacker, checkout: Path, pid: Any) -> None:
    record(checkout, server.url, pid=pid)
    with pytest.raises(CommandError, match="not running any more") as refused:
        connect()
    assert "storyloom local down" in refused.value.cure
    assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "http://evil.example",
        "http://localhost@evil.example",
        "http://127.0.0.1.nip.io",
    ],
)
def test_a_local_cloud_is_on_this_machine(checkout: Path, supervisor: int, url: str) -> None:
    record(checkout, url, pid=supervisor)
    with pytest.raises(CommandError):
        connect()


def test_nothing_is_sent_to_aws_while_a_local_cloud_starts(checkout: Path, supervisor: int) -> None:
    record(checkout, "http://localhost:8400", pid=supervisor, sign_in=None)
    private_file.write_private_file(keep_file(), json.dumps({"url": PAGE, "refresh_token": "r"}))
    with pytest.raises(CommandError, match="still starting"):
        connect()


def test_the_local_cloud_of_this_checkout_is_used_from_any_folder(
    server: Attacker, checkout: Path, supervisor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(checkout, server.url, pid=supervisor)
    monkeypatch.chdir(tmp_path)
    assert connect().url == server.url


@pytest.mark.parametrize(
    "url",
    [
        "http://page.example",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "ftp://page.example",
        "page.example",
        "https://user:password@page.example",
        "https://",
        "file:///etc/passwd",
    ],
)
def test_a_password_is_sent_over_https_only(url: str) -> None:
    with pytest.raises(CommandError):
        page_address(url)


def test_a_page_and_this_machine_have_an_address() -> None:
    assert page_address(f"{PAGE}/") == PAGE
    assert page_address("http://localhost:8400") == "http://localhost:8400"


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/",
        "http://cognito-idp.eu-central-1.amazonaws.com/",
        "https://cognito-idp.us-east-1.amazonaws.com/",
        "https://cognito-idp.eu-central-1.amazonaws.com.evil.example/",
        "https://cognito-idp.eu-central-1.amazonaws.com@evil.example/",
        "https://cognito-idp.eu-central-1.amazonaws.com:444/",
        "https://evil.example/cognito-idp.eu-central-1.amazonaws.com/",
        "https://evilcognito-idp.eu-central-1.amazonaws.com/",
        "http://localhost:8400/aws/cognito-idp/",
        None,
        ["https://cognito-idp.eu-central-1.amazonaws.com/"],
    ],
)
def test_a_page_on_aws_must_use_awss_sign_in_in_its_region(endpoint: object) -> None:
    assert sign_in_endpoint(PAGE, COGNITO, "eu-central-1") == COGNITO
    with pytest.raises(CommandError, match="Nothing was sent"):
        sign_in_endpoint(PAGE, endpoint, "eu-central-1")


def test_a_local_cloud_must_use_its_own_front_door() -> None:
    local = "http://localhost:8400"
    assert sign_in_endpoint(local, f"{local}/aws/cognito-idp/", "us-east-1")
    for elsewhere in ("http://localhost:8401/aws/cognito-idp/", COGNITO, "https://localhost:8400/"):
        with pytest.raises(CommandError):
            sign_in_endpoint(local, elsewhere, "eu-central-1")


def test_a_password_is_sent_only_to_the_pages_own_sign_in(server: Attacker, other: Attacker) -> None:
    server.config["cognito_endpoint"] = f"{other.url}/aws/cognito-idp/"
    with pytest.raises(CommandError, match="Nothing was sent"):
        sign_in_and_keep(server.url, "a@b.c", "my password")
    assert other.seen == []
    assert b"my password" not in b"".join(body for _, body in server.seen)


def test_a_stored_token_is_sent_only_to_its_issuer(server: Attacker, other: Attacker, checkout: Path) -> None:
    sign_in_and_keep(server.url, "a@b.c", "right")
    server.config["cognito_endpoint"] = f"{other.url}/aws/cognito-idp/"
    asked_before = len(server.seen)
    assert connect().url == server.url
    assert [path for path, _ in server.seen[asked_before:]] == ["/aws/cognito-idp/"]
    assert other.seen == []


@pytest.mark.parametrize("named", ["", ".", "config"])
def test_a_stored_token_is_not_read_from_the_current_folder(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", named)
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert keep_file() == tmp_path / "home" / ".config" / "storyloom" / "connection.json"
    assert cached_page("report.html") == tmp_path / "home" / ".cache" / "storyloom" / "report.html"


@pytest.mark.parametrize("endpoint", ["https://evil.example/", "http://localhost:1/aws/cognito-idp/"])
def test_a_stored_token_with_a_changed_address_is_not_sent(checkout: Path, endpoint: str) -> None:
    kept = {"url": PAGE, "endpoint": endpoint, "client_id": "c", "refresh_token": "r"}
    private_file.write_private_file(keep_file(), json.dumps(kept))
    with pytest.raises(CommandError, match="Nothing was sent"):
        connect()


def test_a_stored_sign_in_without_an_address_is_renewed(checkout: Path) -> None:
    private_file.write_private_file(keep_file(), json.dumps({"url": PAGE, "refresh_token": "r"}))
    with pytest.raises(CommandError) as refused:
        connect()
    assert f"storyloom login {PAGE}" in refused.value.cure


@pytest.mark.parametrize(
    "address",
    [
        "http://stories.s3.eu-central-1.amazonaws.com/",
        "https://evil.example/",
        "https://s3.amazonaws.com.evil.example/",
        "https://localhost:8400/aws/s3/stories",
        "https://cognito-idp.eu-central-1.amazonaws.com/",
        "file:///etc/passwd",
        None,
    ],
)
def test_a_page_on_aws_uploads_to_s3_only(address: object) -> None:
    for right in (
        "https://stories.s3.eu-central-1.amazonaws.com/",
        "https://s3.us-east-1.amazonaws.com/stories",
        "https://stories.s3.amazonaws.com/a?X-Amz-Signature=1",
        "https://stories.s3.dualstack.eu-west-1.amazonaws.com/",
    ):
        assert bucket_address(PAGE, right) == right
    with pytest.raises(CommandError):
        bucket_address(PAGE, address)


def test_an_upload_is_sent_to_no_other_address(server: Attacker, other: Attacker, tmp_path: Path) -> None:
    server.config["form"] = f"{other.url}/aws/s3/stories"
    novel = tmp_path / "novel.txt"
    novel.write_text("Once upon a time.")
    with novel.open("rb") as content, pytest.raises(CommandError, match="Nothing was sent there"):
        StoryloomApi(Connection(server.url, "token")).upload(content, 17, "novel.txt")
    assert other.seen == []


def test_redirects_are_not_followed(server: Attacker, other: Attacker) -> None:
    server.config["elsewhere"] = f"{other.url}/stolen/completions"
    with pytest.raises(CommandError):
        list(StoryloomApi(Connection(server.url, "token")).chat([{"role": "user", "content": "secret"}]))
    assert other.seen == []


def test_requests_to_this_machine_use_no_proxy(
    server: Attacker, other: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    sign_in_and_keep(server.url, "a@b.c", "right")
    assert StoryloomApi(Connection(server.url, "token")).status()
    assert other.seen == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("prompts.txt", "prompts.answers.jsonl"),
        ("../../.bashrc", ".bashrc.answers.jsonl"),
        ("/etc/cron.d/x.txt", "x.answers.jsonl"),
        ("C:\\Users\\x.txt", "x.answers.jsonl"),
        ("..", "batch.answers.jsonl"),
        ("a\x1b]0;b.txt", "a<U+001B>]0;b.answers.jsonl"),
    ],
)
def test_a_name_from_the_server_is_a_file_of_this_folder(name: str, file: str) -> None:
    assert batches._answers_path(batches._file_name_from_server(name, otherwise="batch")) == Path(file)


@pytest.mark.parametrize("given", ["YOUR-PAGE", "http://page.example", "ftp://page.example"])
def test_an_address_is_refused_before_the_password_is_asked_for(
    given: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["storyloom", "login", given])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert given in said.err and "Email" not in said.out + said.err
