"""The versions of the storyteller: what each is, and approving, activating and rejecting them."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.pages import VersionsPage
from tests.browser.server import StoryloomServer

pytestmark = pytest.mark.browser


def test_without_a_version_the_page_says_how_to_get_one(signed_in: Page) -> None:
    VersionsPage(signed_in).open()
    expect(signed_in.get_by_text("No version yet.")).to_be_visible()
    signed_in.get_by_role("link", name="Add your stories").click()
    expect(signed_in).to_have_url(re.compile("#/stories$"))


def test_each_version_shows_its_figures_and_actions(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.models = samples.models()
    versions = VersionsPage(signed_in).open()
    expect(versions.card("v6")).to_contain_text("Waiting for approval")
    expect(versions.card("v6")).to_contain_text("32 stories · 44,714 words")
    expect(versions.card("v6")).to_contain_text("perplexity 34% lower than the base model's")
    assert {model["version"]: versions.choices(model["version"]) for model in storyloom.models} == {
        "v6": ["Approve", "Reject"],
        "v5": [],
        "v4": ["Activate again"],
        "v3": ["Activate", "Reject"],
        "v2": ["Approve anyway"],
        "v1": ["Try again", "Reject"],
    }


def test_the_previous_version_can_be_activated_again(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.models = samples.models()
    versions = VersionsPage(signed_in).open()
    versions.choose("v4", "Activate again")
    expect(signed_in.get_by_role("status").filter(has_text="v4: activate it is.")).to_be_visible()
    expect(versions.card("v4")).to_contain_text("Approved")
    assert storyloom.decisions == [("v4", "activate")]


@pytest.mark.parametrize(
    ("label", "decision", "status"),
    [("Approve", "approve", "Approved"), ("Reject", "reject", "Rejected")],
)
def test_a_pending_version_is_approved_or_rejected(
    signed_in: Page, storyloom: StoryloomServer, label: str, decision: str, status: str
) -> None:
    storyloom.models = samples.models()
    versions = VersionsPage(signed_in).open()
    versions.choose("v6", label)
    expect(versions.card("v6")).to_contain_text(status)
    assert storyloom.decisions == [("v6", decision)]


def test_a_refused_decision_shows_the_reason_and_the_cure(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    storyloom.models = samples.models()
    storyloom.decision_refusal = {
        "type": "run_in_progress",
        "message": "A run is in progress.",
        "cure": "Wait for it.",
    }
    versions = VersionsPage(signed_in).open()
    versions.choose("v3", "Activate")
    expect(signed_in.get_by_role("alert")).to_contain_text("A run is in progress.")
    expect(signed_in.get_by_role("alert")).to_contain_text("Wait for it.")
    expect(versions.card("v3").get_by_role("button").first).to_be_enabled()
