"""The versions of the storyteller: what each is, which answers, and having another one answer."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.pages import VersionsPage
from tests.browser.server import StoryloomServer

pytestmark = pytest.mark.browser


def test_without_a_version_it_says_how_to_get_one(signed_in: Page) -> None:
    VersionsPage(signed_in).open()
    expect(signed_in.get_by_text("No version yet.")).to_be_visible()
    signed_in.get_by_role("link", name="Add your stories").click()
    expect(signed_in).to_have_url(re.compile("#/stories$"))


def test_each_version_says_what_it_is_and_what_may_be_done(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    storyloom.models = samples.models()
    versions = VersionsPage(signed_in).open()
    expect(versions.card("v6")).to_contain_text("Waits for your yes")
    expect(versions.card("v6")).to_contain_text("32 stories · 44,714 words")
    expect(versions.card("v6")).to_contain_text("34% less surprised than the base model")
    assert {model["version"]: versions.choices(model["version"]) for model in storyloom.models} == {
        "v6": ["Yes, let it answer", "No, keep it aside"],
        "v5": [],
        "v4": ["Go back to it"],
        "v3": ["Let it answer", "No, keep it aside"],
        "v2": ["Let it answer all the same"],
        "v1": ["Try it again", "No, keep it aside"],
    }


def test_going_back_asks_for_the_one_before_and_says_so(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.models = samples.models()
    versions = VersionsPage(signed_in).open()
    versions.choose("v4", "Go back to it")
    expect(signed_in.get_by_role("status").filter(has_text="v4: activate it is.")).to_be_visible()
    expect(versions.card("v4")).to_contain_text("Approved")
    assert storyloom.decisions == [("v4", "activate")]


@pytest.mark.parametrize(
    ("label", "decision", "status"),
    [("Yes, let it answer", "approve", "Approved"), ("No, keep it aside", "reject", "Rejected")],
)
def test_a_version_that_waits_gets_its_answer(
    signed_in: Page, storyloom: StoryloomServer, label: str, decision: str, status: str
) -> None:
    storyloom.models = samples.models()
    versions = VersionsPage(signed_in).open()
    versions.choose("v6", label)
    expect(versions.card("v6")).to_contain_text(status)
    assert storyloom.decisions == [("v6", decision)]


def test_a_decision_that_cannot_be_says_why_and_what_to_do(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    storyloom.models = samples.models()
    storyloom.decision_refusal = {
        "type": "run_in_progress",
        "message": "A run is going on.",
        "cure": "Wait for it.",
    }
    versions = VersionsPage(signed_in).open()
    versions.choose("v3", "Let it answer")
    expect(signed_in.get_by_role("alert")).to_contain_text("A run is going on.")
    expect(signed_in.get_by_role("alert")).to_contain_text("Wait for it.")
    expect(versions.card("v3").get_by_role("button").first).to_be_enabled()
