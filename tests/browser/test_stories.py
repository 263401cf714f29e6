"""Adding and deleting stories."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from stories.formats.detection import readers
from tests.browser.conftest import WEB
from tests.browser.pages import Question, StoriesPage
from tests.browser.server import StoryloomServer

pytestmark = pytest.mark.browser


def test_the_stories_are_listed(signed_in: Page) -> None:
    stories = StoriesPage(signed_in).open().stories()
    expect(stories).to_have_count(2)
    expect(stories.nth(1)).to_contain_text("winter/lamplighter.md")
    expect(stories.nth(1)).to_contain_text("8.7 KB")


def test_the_page_lists_the_formats_that_are_read(signed_in: Page) -> None:
    listed = json.loads((WEB / "src" / "views" / "stories" / "formats.json").read_text())
    endings = sorted(ending for of_one in listed.values() for ending in of_one)
    assert endings == sorted(readers()), "formats.json is out of date: run `make openapi`"
    StoriesPage(signed_in).open()
    box = signed_in.get_by_role("group", name="Add stories")
    expect(box).to_contain_text("text, Markdown, Word, OpenDocument, RTF, EPUB, PDF, HTML, CSV")


def test_chosen_files_arrive_whole(signed_in: Page, storyloom: StoryloomServer, tmp_path: Path) -> None:
    tale = tmp_path / "tale.txt"
    tale.write_bytes("Já, „wäre“ 🧵\r\n".encode() * 2000)
    other = tmp_path / "other.md"
    other.write_text("# Other")
    page = StoriesPage(signed_in).open()
    page.choose_files([tale, other])
    expect(page.uploads()).to_contain_text("2 of 2 files uploaded. All have arrived.")
    assert storyloom.uploads == {"tale.txt": tale.read_bytes(), "other.md": other.read_bytes()}
    expect(page.stories()).to_have_count(4)


def test_dropped_files_arrive_too(signed_in: Page, storyloom: StoryloomServer) -> None:
    page = StoriesPage(signed_in).open()
    page.drop_files({"dropped.txt": "Once."})
    expect(page.uploads()).to_contain_text("1 of 1 file uploaded")
    assert storyloom.uploads == {"dropped.txt": b"Once."}


def test_many_files_all_arrive(signed_in: Page, storyloom: StoryloomServer) -> None:
    page = StoriesPage(signed_in).open()
    page.drop_files({f"tale-{number:02}.txt": f"Tale {number}" for number in range(40)})
    expect(page.uploads()).to_contain_text("40 of 40 files uploaded")
    assert len(storyloom.uploads) == 40


def test_an_empty_file_is_refused_before_it_is_sent(signed_in: Page, storyloom: StoryloomServer) -> None:
    page = StoriesPage(signed_in).open()
    page.drop_files({"empty.txt": "", "full.txt": "Once."})
    expect(page.uploads()).to_contain_text("The file is empty.")
    expect(page.uploads()).to_contain_text("1 of 2 files uploaded, 1 not")
    assert list(storyloom.uploads) == ["full.txt"]


def test_a_refused_upload_shows_the_reason_and_can_be_repeated(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    storyloom.upload_refusal = (403, "AccessDenied")
    page = StoriesPage(signed_in).open()
    page.drop_files({"tale.txt": "Once."})
    expect(page.uploads()).to_contain_text("The permission to upload has expired. Try again.")
    storyloom.upload_refusal = None
    signed_in.get_by_role("button", name="Upload tale.txt again").click()
    expect(page.uploads()).to_contain_text("1 of 1 file uploaded")


def test_a_story_is_deleted_and_the_page_says_how_to_bring_it_back(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    page = StoriesPage(signed_in).open()
    question = Question(signed_in)
    delete = signed_in.get_by_role("button", name="Delete winter/lamplighter.md")
    delete.click()
    expect(question.box).to_contain_text("You can bring it back: add the file again")
    question.answer("Keep it")
    expect(page.stories()).to_have_count(2)
    expect(delete).to_be_focused()
    delete.press("Enter")
    question.answer("Delete it")
    expect(page.stories()).to_have_count(1)
    notice = signed_in.get_by_text("winter/lamplighter.md is deleted. To restore it: aws s3api")
    expect(notice).to_be_focused()
    assert [story["key"] for story in storyloom.stories] == ["the-ferry.txt"]


def test_a_refused_deletion_shows_the_reason(signed_in: Page, storyloom: StoryloomServer) -> None:
    error = {
        "type": "not_found",
        "message": "There is no story 'the-ferry.txt'.",
        "cure": "Look at the list.",
    }
    storyloom.delete_refusal = (404, error)
    page = StoriesPage(signed_in).open()
    signed_in.get_by_role("button", name="Delete the-ferry.txt").click()
    question = Question(signed_in)
    question.answer("Delete it")
    expect(question.box.get_by_role("alert")).to_contain_text("There is no story 'the-ferry.txt'.")
    question.answer("Keep it")
    expect(page.stories()).to_have_count(2)


def test_an_empty_bucket_shows_what_to_add(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.stories = []
    StoriesPage(signed_in).open()
    expect(signed_in.get_by_text("No stories yet.")).to_be_visible()
