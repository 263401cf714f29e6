"""A real Chromium, the page as it is built now, and the small server behind it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser import samples
from tests.browser.server import REFRESH_TOKEN, StoryloomServer

CHECKOUT = Path(__file__).resolve().parents[2]
WEB = CHECKOUT / "web"

# Only once: after signing out, a tab stays signed out.
_SIGNED_IN_BEFORE = f"""
if (window.name === "") {{
  window.name = "opened";
  sessionStorage.setItem("storyloom.refresh-token", "{REFRESH_TOKEN}");
}}
"""


@pytest.fixture(scope="session")
def built_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the page, built from the source as it is now into a folder of its own."""
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
    """Provide the server, awake, with a live model, a few stories and no runs."""
    server = StoryloomServer(built_page)
    server.status = samples.status()
    server.stories = samples.stories()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def signed_in(page: Page, storyloom: StoryloomServer) -> Page:
    """Provide a tab with the stored sign-in of the writer, which the page opens with."""
    sign_in_as(page, storyloom)
    return page


def sign_in_as(page: Page, storyloom: StoryloomServer) -> None:
    """Open the page in a tab with a stored sign-in."""
    page.add_init_script(_SIGNED_IN_BEFORE)
    page.goto(storyloom.url)
    page.get_by_role("navigation", name="Main").wait_for()
