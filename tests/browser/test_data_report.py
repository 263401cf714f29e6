"""The data report as a page of its own: by axe in light and dark, on a phone, under its own policy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from stories.dataset.assembly import assemble
from stories.report.report_page import report_to_html
from tests.browser.test_accessibility import AXE, violations
from tests.unit.stories.material import Files, options, prose, read_all

pytestmark = pytest.mark.browser

_STORIES = {
    f"tale-of-{chr(97 + number)}.txt": prose(number, 900 * (number + 1)).encode() for number in range(8)
}
FOLDERS: dict[str, Files] = {
    "good": _STORIES,
    "bad": {
        "<img src=x onerror=alert(1)>.txt": b"",
        "a-very-long-name-without-any-break-" * 6 + ".txt": b"",
        "short.txt": prose(1, 200).encode(),
        **{f"photo-{number}.jpg": b"\xff\xd8\xff" for number in range(9)},
    },
    "mixed": {**_STORIES, "copy.txt": _STORIES["tale-of-a.txt"], "empty.txt": b""},
    "empty": {},
}


@pytest.fixture(params=FOLDERS)
def report(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Provide the page of one folder's report."""
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    made = assemble(read_all(FOLDERS[request.param]), options(spot=True, base_model="smollm2-1.7b"), dataset)
    page = tmp_path / "report.html"
    page.write_text(report_to_html(made), encoding="utf-8")
    return page


@pytest.fixture(params=["light", "dark"])
def visitor(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """Provide a tab in one of the two colour schemes."""
    context = chromium.new_context(color_scheme=request.param, viewport={"width": 320, "height": 800})
    yield context.new_page()
    context.close()


def test_it_fits_a_phone_and_loads_nothing(visitor: Page, report: Path) -> None:
    said: list[str] = []
    requested: list[str] = []
    visitor.on("console", lambda message: said.append(message.text))
    visitor.on("request", lambda request: requested.append(request.url))
    visitor.goto(report.as_uri())
    assert said == []
    assert requested == [report.as_uri()]
    assert visitor.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    # The style sheet came through the policy: without it the page would be in the browser's own font.
    assert "serif" in visitor.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily")
    assert visitor.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "736px"


def test_axe_finds_nothing(chromium: Browser, report: Path) -> None:
    for scheme in ("light", "dark"):
        context = chromium.new_context(bypass_csp=True, color_scheme=scheme)  # lets axe itself in
        page = context.new_page()
        page.goto(report.as_uri())
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
        page.add_script_tag(path=AXE)
        assert violations(page) == []
        context.close()
