"""The evaluation as a page of its own: by axe in light and dark, on a phone, under its own policy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from storyloom_jobs.evaluation.evaluation_page import render_page
from tests.browser.test_accessibility import AXE, violations
from tests.unit.functions.evaluations import evaluation

pytestmark = pytest.mark.browser

_STYLE = {"function_words": 0.4, "sentence_lengths": 3.5, "letters": 0.2}
_INJECTED = "<script>document.title = 'injected'</script><img src=x onerror=alert(1)><b style='color:red'>"


def _full() -> dict[str, Any]:
    """Return an evaluation with every part of the page, and markup in the model's answers."""
    found = evaluation(20.0, 15.0, live=16.0)
    for distance, model in enumerate(("base", "live", "candidate")):
        style = {measure: value * (3 - distance) for measure, value in _STYLE.items()}
        found[model]["writing"]["style"] = style
    answers = {model: f"{model}: {_INJECTED} {'long ' * 80}" for model in ("base", "live", "candidate")}
    samples = [
        {"kind": kind, "prompt": "Tell me of the sea.", "begun": "Once", **answers}
        for kind in ("telling", "finishing", "opening")
    ]
    return {**found, "held_out_style": _STYLE, "samples": samples}


EVALUATIONS = {
    "better": _full(),
    "worse": evaluation(20.0, 21.0),
    "unsure": evaluation(20.0, 19.9),
}


@pytest.fixture(params=EVALUATIONS)
def evaluation_page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Provide the page of one evaluation."""
    page = tmp_path / "evaluation.html"
    page.write_text(render_page(EVALUATIONS[request.param]), encoding="utf-8")
    return page


@pytest.fixture(params=["light", "dark"])
def visitor(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """Provide a tab in one of the two colour schemes."""
    context = chromium.new_context(color_scheme=request.param, viewport={"width": 320, "height": 800})
    yield context.new_page()
    context.close()


def test_it_fits_a_phone_and_loads_nothing(visitor: Page, evaluation_page: Path) -> None:
    messages: list[str] = []
    requested: list[str] = []
    visitor.on("console", lambda message: messages.append(message.text))
    visitor.on("request", lambda request: requested.append(request.url))
    visitor.goto(evaluation_page.as_uri())
    assert messages == []
    assert requested == [evaluation_page.as_uri()]
    assert visitor.title() == "How the new model did"
    assert visitor.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    # The style sheet came through the policy: without it the page would be in the browser's own font.
    assert "serif" in visitor.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily")
    assert visitor.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "832px"


def test_its_policy_refuses_what_is_injected(visitor: Page, tmp_path: Path) -> None:
    """Checks the policy itself: as if the page had forgotten to escape an answer."""
    page = tmp_path / "evaluation.html"
    html = render_page(EVALUATIONS["worse"])
    page.write_text(html.replace("<main>", f"<main>{_INJECTED}"), encoding="utf-8")
    messages: list[str] = []
    visitor.on("console", lambda message: messages.append(message.text))
    visitor.goto(page.as_uri())
    assert visitor.title() == "How the new model did"
    refused = [
        directive for directive in ("script", "img", "style") for text in messages if directive in text
    ]
    assert set(refused) == {"script", "img", "style"}, messages


def test_axe_finds_nothing(chromium: Browser, evaluation_page: Path) -> None:
    for scheme in ("light", "dark"):
        context = chromium.new_context(bypass_csp=True, color_scheme=scheme)  # lets axe itself in
        page = context.new_page()
        page.goto(evaluation_page.as_uri())
        page.add_script_tag(path=AXE)
        assert violations(page) == []
        context.close()
