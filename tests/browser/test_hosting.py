"""What the hosted model costs, waking it and putting it to sleep."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import HostingPanel
from tests.browser.server import StoryloomServer

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("hosting", "words"),
    [
        (
            {"cost_this_month_usd": 1.875},
            "$1.88 spent since the month began, on everything together (prices of 2026-09). "
            "Its machine is billed until it sleeps.",
        ),
        ({"status": "asleep", "cost_this_month_usd": 0}, "Nothing was spent this month."),
        ({"cost_this_month_usd": None}, "What this month has cost is not known"),
    ],
)
def test_the_panel_shows_what_the_month_has_cost(
    signed_in: Page, storyloom: StoryloomServer, hosting: dict[str, Any], words: str
) -> None:
    storyloom.status["hosting"].update(hosting)
    signed_in.reload()
    expect(HostingPanel(signed_in).open().box).to_contain_text(words)


def test_the_panel_shows_the_usage_of_today(signed_in: Page) -> None:
    expect(HostingPanel(signed_in).open().box).to_contain_text("about 930 of 150,000 words")


def test_a_sleeping_model_can_be_woken(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.status["hosting"]["status"] = "asleep"
    signed_in.reload()
    panel = HostingPanel(signed_in).open()
    expect(panel.box).to_contain_text("No machine is running, so nothing is billed.")
    expect(panel.button("Put it to sleep now")).to_have_count(0)
    panel.button("Wake it now").click()
    expect(signed_in.get_by_role("button", name=re.compile("Storyteller: Waking"))).to_be_visible()
    assert storyloom.wakes == 1


def test_an_awake_model_can_be_put_to_sleep(signed_in: Page, storyloom: StoryloomServer) -> None:
    panel = HostingPanel(signed_in).open()
    expect(panel.box).to_contain_text("For everybody: its machine is deleted and no longer billed")
    expect(panel.button("Wake it now")).to_have_count(0)
    panel.button("Put it to sleep now").press("Enter")
    expect(signed_in.get_by_role("button", name=re.compile("Storyteller: Asleep"))).to_be_visible()
    assert storyloom.sleeps == 1
    expect(panel.button("Wake it now")).to_be_visible()
    expect(panel.box).to_be_focused()


def test_a_refused_sleep_shows_the_reason(signed_in: Page, storyloom: StoryloomServer) -> None:
    error = {"type": "internal_error", "message": "Something broke.", "cure": "Try again in a minute."}
    storyloom.sleep_refusal = (500, error)
    panel = HostingPanel(signed_in).open()
    panel.button("Put it to sleep now").click()
    expect(panel.box.get_by_role("alert")).to_have_text("Something broke. Try again in a minute.")
    expect(panel.button("Put it to sleep now")).to_be_enabled()
