"""A real Chromium and its tabs, for every test that looks at the page."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

# Chromium takes the last --disable-features alone, so Playwright's own list is repeated before ours.
_DISABLED_BY_PLAYWRIGHT = [
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "LensOverlay",
    "MediaRouter",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "AimEnabled",
    "PreconnectToSearch",
]

# For every context, headless Chromium renders the suggestions of an address bar that nobody sees, and keeps a
# process for a page that nobody opens: half of the processor time of a short test.
_UNUSED_FEATURES = [
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "SpareRendererForSitePerProcess",
]

# --no-sandbox: as root, Chromium refuses to start with it. The others keep it from calling home.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(_DISABLED_BY_PLAYWRIGHT + _UNUSED_FEATURES)}",
]


TIMEOUT_MS = 30_000
"""How long a test waits for something, on a machine that is busy with other tests."""


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
    """Provide one browser for all tests; each test gets a fresh context in it."""
    expect.set_options(timeout=TIMEOUT_MS)
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


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Provide a fresh browser profile."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB")
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Provide a tab; the test fails if the page raised an error or broke its content security policy."""
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
