"""A real browser shows a page of another site, which tries everything a page can send to this machine."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserType, Page, Response

from tests.browser.chromium import CHROMIUM_FLAGS, TIMEOUT_MS, find_chromium
from tests.local.web.attacks import state_of, targets
from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud

EVIL, REBOUND = "evil.example", "rebound.example"
FLAGS = [
    *CHROMIUM_FLAGS,
    # Both names lead here, as an attacker's name server may say after the page was loaded.
    f"--host-resolver-rules=MAP {EVIL} 127.0.0.1,MAP {REBOUND} 127.0.0.1",
    # Chromium's own protections, which other browsers lack, are not what is tested.
    "--ignore-certificate-errors",
    "--disable-popup-blocking",
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
]

TRIES = """
async (targets) => {
  const read = [];
  const settle = (element, parent) => new Promise((done) => {
    for (const event of ["load", "error"]) element.addEventListener(event, done);
    setTimeout(done, 10000);
    parent.append(element);
  });
  const keep = async (how, name, answer) => {
    if (!answer || answer.type === "opaque") return;
    read.push(`${how} ${name}: ${answer.status} ${(await answer.text()).slice(0, 200)}`);
  };
  const json = { "content-type": "application/x-amz-json-1.1",
                 "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth" };
  for (const [name, url] of Object.entries(targets)) {
    for (const enctype of ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]) {
      const frame = document.createElement("iframe");
      frame.name = `${enctype} ${name}`;
      document.body.append(frame);
      const form = document.createElement("form");
      Object.assign(form, { action: url, method: "POST", enctype, target: frame.name });
      for (const [key, value] of Object.entries({ key: "forged.txt", init: "1" })) {
        const field = document.createElement("input");
        Object.assign(field, { name: key, value });
        form.append(field);
      }
      document.body.append(form);
      const loaded = new Promise((done) => { frame.onload = done; setTimeout(done, 10000); });
      form.submit();
      await loaded;
      try { read.push(`form ${name}: ${frame.contentDocument.body.innerText.slice(0, 200)}`); } catch {}
    }
    for (const [how, options] of Object.entries({
      "no-cors": { mode: "no-cors", method: "POST", body: "{}" },
      "no-cors with cookies": { mode: "no-cors", method: "POST", body: "{}", credentials: "include" },
      "no-cors GET": { mode: "no-cors" },
      "cors": { method: "POST", body: "{}" },
      "cors GET": {},
      "cors JSON": { method: "POST", body: "{}", headers: json },
      "cors PUT": { method: "PUT", body: "{}" },
    })) {
      await keep(how, name, await fetch(url, options).catch(() => null));
    }
    navigator.sendBeacon(url, "{}");
    for (const tag of ["img", "script", "iframe", "object"]) {
      const element = document.createElement(tag);
      element[tag === "object" ? "data" : "src"] = url;
      await settle(element, document.body);
      if (tag !== "iframe") continue;
      try { read.push(`frame ${name}: ${element.contentDocument.body.innerText.slice(0, 200)}`); } catch {}
    }
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: url });
    await settle(style, document.head);
    await new Promise((done) => {
      const socket = new WebSocket(url.replace(/^http/, "ws"));
      socket.onopen = () => read.push(`socket ${name}: open`);
      socket.onclose = done;
    });
    await new Promise((done) => {
      const events = new EventSource(url);
      events.onmessage = () => read.push(`events ${name}`);
      events.onerror = () => { events.close(); done(); };
    });
  }
  return read;
}
"""

SAME_ORIGIN_TRIES = """
async (paths) => {
  const answers = [];
  for (const path of paths) {
    for (const options of [{}, { method: "POST", body: "{}", headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth" } }]) {
      const answer = await fetch(path, options);
      answers.push(answer.status);
    }
  }
  return answers;
}
"""


class _EvilSite(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Cat pictures</title><body></body>")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def evil_site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EvilSite)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{EVIL}:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def _launch(chromium: BrowserType) -> Browser:
    executable = find_chromium()
    if executable is None and not Path(chromium.executable_path).exists():
        pytest.fail("There is no Chromium to drive: python -m tests.browser.install_chromium")
    return chromium.launch(executable_path=executable, args=FLAGS)


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    """Return a tab of a browser that finds the attacker's names."""
    browser = _launch(chromium.browser_type)
    page = browser.new_page(ignore_https_errors=True)
    page.set_default_timeout(TIMEOUT_MS)
    yield page
    browser.close()


def _answers_of_cloud(web: WebApp, tab: Page) -> list[tuple[str, str, int]]:
    """Collect the cloud's answers to this browser, also those that no page can read."""
    collected: list[tuple[str, str, int]] = []

    def collect(response: Response) -> None:
        url = urlsplit(response.url)
        if url.port in (web.cloud.port, web.cloud.page_port):
            collected.append((response.request.method, url.path, response.status))

    tab.context.on("response", collect)
    return collected


def test_a_page_of_another_site_does_nothing_and_reads_nothing(
    web: WebApp, tab: Page, evil_site: str
) -> None:
    before, answers = state_of(web), _answers_of_cloud(web, tab)
    tab.goto(evil_site)
    assert tab.evaluate(TRIES, targets(web)) == []
    assert len(answers) > 100, "the tries did not arrive, so nothing was tried"
    assert [answer for answer in answers if answer[2] < 400] == []
    assert state_of(web) == before


def test_a_window_that_another_site_opens_tells_it_nothing(web: WebApp, tab: Page, evil_site: str) -> None:
    before, answers = state_of(web), _answers_of_cloud(web, tab)
    for name, url in targets(web).items():
        tab.goto(evil_site)
        with tab.context.expect_page() as opening:
            tab.evaluate("url => { window.opened = window.open(url) }", url)
        opening.value.wait_for_load_state()
        readable = tab.evaluate(
            "() => { try { return opened.document.body.innerText } catch { return null } }"
        )
        assert readable is None, name
        opening.value.close()
    assert [answer for answer in answers if answer[2] < 400] == []
    assert state_of(web) == before


def test_a_name_that_was_pointed_at_this_machine_is_refused(web: WebApp, tab: Page) -> None:
    before = state_of(web)
    paths = [
        "/",
        "/config.json",
        "/api/health",
        "/aws/cognito-idp/",
        "/_ministack/health",
        "/_ministack/reset",
    ]
    for origin in (f"http://{REBOUND}:{web.cloud.page_port}", f"https://{REBOUND}:{web.cloud.port}"):
        opened: Any = tab.goto(f"{origin}/")
        assert opened.status == 403
        assert tab.evaluate(SAME_ORIGIN_TRIES, paths) == [403] * 2 * len(paths)
    assert state_of(web) == before


def test_our_own_page_works_in_the_same_browser(web: WebApp, tab: Page) -> None:
    tab.goto(web.front_door)
    assert tab.title() == "Test page"
    assert tab.evaluate("async () => (await fetch('/api/health')).status") == 200
