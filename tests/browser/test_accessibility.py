"""Every view by axe's rules, in light and dark, and by keyboard alone."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import WEB
from tests.browser.pages import ChatPage, SignInPage
from tests.browser.server import EMAIL, PASSWORD, StoryloomServer
from tests.browser.views import fill, signed_in_views

pytestmark = pytest.mark.browser

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Literal["light", "dark"]:
    """Provide the colour scheme of the person's system."""
    chosen: Literal["light", "dark"] = request.param
    return chosen


@pytest.fixture
def visitor(
    chromium: Browser, scheme: Literal["light", "dark"], storyloom: StoryloomServer
) -> Iterator[Page]:
    """Provide a tab with axe, past the security policy, and without animations, which change colours."""
    context = chromium.new_context(bypass_csp=True, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(storyloom.url)
    page.add_script_tag(path=AXE)
    yield page
    context.close()


def violations(page: Page) -> list[str]:
    """Return what axe finds on a page that has loaded it."""
    found = page.evaluate(
        "async rules => (await axe.run(document, {runOnly: rules})).violations"
        ".map(v => `${v.impact} ${v.id}: ${v.help}: ${v.nodes.map(n => n.html).join(' ')}`)",
        RULES,
    )
    return [str(violation) for violation in found]


def test_axe_finds_nothing_on_any_view(visitor: Page, storyloom: StoryloomServer) -> None:
    fill(storyloom)
    found: dict[str, list[str]] = {}

    def check(view: str) -> None:
        found[view] = violations(visitor)

    expect(visitor.get_by_label("E-mail")).to_be_visible()
    check("sign-in")
    SignInPage(visitor).sign_in(EMAIL, "wrong")
    expect(SignInPage(visitor).problem()).to_be_visible()
    check("wrong password")
    SignInPage(visitor).request_code(EMAIL)
    expect(visitor.get_by_label("Code from the e-mail")).to_be_focused()
    check("code")
    visitor.get_by_role("button", name="Send another code").click()
    visitor.get_by_role("button", name="Back to the sign-in").click()
    SignInPage(visitor).sign_in(EMAIL, PASSWORD)
    for view, show in signed_in_views(visitor, storyloom).items():
        show()
        check(view)
    assert found == {view: [] for view in found}


def test_the_keyboard_is_enough(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    expect(chat.prompt()).to_be_focused()
    signed_in.keyboard.type("Begin.")
    signed_in.keyboard.press("Enter")
    chat.expect_state("done")
    signed_in.keyboard.press("Tab")  # the send button is off while there is nothing to send
    signed_in.keyboard.press("ArrowRight")
    expect(signed_in.get_by_role("radio", name="Base model")).to_be_checked()
    signed_in.get_by_role("link", name="Skip to the content").focus()
    signed_in.keyboard.press("Enter")
    expect(signed_in.locator("main")).to_be_focused()
    signed_in.get_by_role("link", name="Stories", exact=True).focus()
    signed_in.keyboard.press("Enter")
    expect(signed_in.get_by_role("heading", name="Stories", level=1)).to_be_visible()
    expect(signed_in.locator("main")).to_be_focused()
