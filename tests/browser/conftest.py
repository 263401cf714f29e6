"""A real Chromium, the page as it is built now, and the small server that the page's tests talk with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser import samples
from tests.browser.pages import SignInPage
from tests.browser.server import EMAIL, PASSWORD, StoryloomServer

CHECKOUT = Path(__file__).resolve().parents[2]
WEB = CHECKOUT / "web"

# --no-sandbox: as root, Chromium refuses to start with it. The others keep it from calling home.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """Return the browser to drive, or None to let Playwright use its own.

    `STORYLOOM_CHROMIUM` wins, then a Chromium or Chrome of this machine.
    """
    named = os.environ.get("STORYLOOM_CHROMIUM")
    if named:
        return named
    found = (
        shutil.which(name)
        for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    )
    return next((path for path in found if path), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests; each test gets a fresh context in it."""
    with sync_playwright() as playwright:
        executable = find_chromium()
        if executable is None and not Path(playwright.chromium.executable_path).exists():
            pytest.fail(
                "There is no Chromium to drive. Install one (`apt-get install chromium`, or "
                "`playwright install chromium`), or name it in STORYLOOM_CHROMIUM."
            )
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def built_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, built from the source as it is now into a folder of its own."""
    vite = WEB / "node_modules" / "vite" / "bin" / "vite.js"
    node = Path(sys.executable).parent / "node"
    command = str(node) if node.exists() else shutil.which("node")
    if command is None or not vite.exists():
        pytest.fail(
            "The page's tools are not installed: run `npm ci` in web/ with the Node of the environment."
        )
    folder = tmp_path_factory.mktemp("page")
    arguments = [command, str(vite), "build", "--outDir", str(folder), "--emptyOutDir", "--logLevel", "warn"]
    result = subprocess.run(arguments, cwd=WEB, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"The page does not build:\n{result.stdout}{result.stderr}"
    return folder


@pytest.fixture
def storyloom(built_page: Path) -> Iterator[StoryloomServer]:
    """The server, awake, with a live model, a few stories and no runs."""
    server = StoryloomServer(built_page)
    server.status = samples.status()
    server.stories = samples.stories()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh browser profile in which every breach of the content security policy or script error counts."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB")
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab; the test fails if the page raised an error or broke its content security policy."""
    page = context.new_page()
    errors: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A refused request is logged by the browser by itself: many tests arrange for one.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == [], "The page raised errors in the browser"


@pytest.fixture
def signed_in(page: Page, storyloom: StoryloomServer) -> Page:
    """A tab in which the writer is signed in."""
    SignInPage(page).open(storyloom.url).sign_in(EMAIL, PASSWORD)
    page.get_by_role("navigation", name="Main").wait_for()
    return page
