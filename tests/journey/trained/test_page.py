"""A person at the page, in a real Chromium, on the app as `cdk deploy` made it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import ChatPage, RunsPage, SignInPage, StoriesPage
from tests.journey.deployed_app import Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey, pytest.mark.browser]


def test_tokens_appear_one_after_another(writer: Page) -> None:
    chat = ChatPage(writer).open()
    seen = chat.watch()
    chat.send("Tell me a story about a goose.")
    wait_for(lambda: len(seen()) >= 8 or None)
    # each text continues the one before it: an answer grows, it does not arrive at once
    for shorter, longer in pairwise(seen()):
        assert longer.startswith(shorter.rstrip()[:-1])


def test_a_stopped_answer_keeps_what_was_said(writer: Page) -> None:
    chat = ChatPage(writer).open()
    seen = chat.watch()
    chat.send("Tell me a long story about the harbour.")
    wait_for(lambda: len(seen()) >= 3 or None)
    chat.stop()
    chat.expect_state("stopped")
    said = chat.answer_text()
    assert said
    writer.wait_for_timeout(1_500)
    assert chat.answer_text() == said


def test_the_run_and_its_report_are_on_the_page(writer: Page, first_run: dict[str, Any]) -> None:
    RunsPage(writer).open()
    link = writer.locator(f'a[href="#/runs/{first_run["run_id"]}"]')
    expect(link).to_contain_text("Succeeded")
    link.click()
    expect(writer.get_by_role("heading", name="Steps")).to_be_visible()


def test_an_upload_reaches_the_bucket_through_the_presigned_form(
    writer: Page, deployed: Deployed, tmp_path: Path
) -> None:
    deployed.start_afresh()  # one story alone starts a run that ends for want of text
    story = tmp_path / "from-the-page.txt"
    story.write_text("A story that came in through the page.")
    StoriesPage(writer).open().choose_files([story])
    found = wait_for(
        lambda: next((s for s in deployed.api.stories() if s["key"].endswith("from-the-page.txt")), None)
    )
    assert found["size"] == story.stat().st_size
    deployed.start_afresh()  # for whoever comes next: `storyloom verify` uploads nothing before a waiting run


def test_a_wrong_password_is_refused_in_words(page: Page, deployed: Deployed) -> None:
    record = deployed.cloud.description()
    sign_in = SignInPage(page).open(record["url"])
    sign_in.sign_in(record["sign_in"]["email"], "not the password 1A!")
    expect(sign_in.problem()).to_be_visible()
