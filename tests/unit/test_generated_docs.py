"""The pages that are written from the code are up to date."""

from pathlib import Path

import pytest

from contracts.setting_types import text_of
from contracts.settings import Settings
from docs.generated import PAGES, commands_page, settings_page

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = (CHECKOUT / name).read_text()
    assert PAGES[name](page) == page, "run: make docs"


def test_the_page_of_commands_has_each_with_its_options_and_examples() -> None:
    page = commands_page()
    assert "## `storyloom check`" in page
    assert "### `storyloom models activate`" in page
    assert "* `--base-model <str>`" in page
    assert "* `check`: See what your stories will make, before anything is uploaded or spent.\n" in page
    assert "\n    storyloom check ~/stories\n" in page, "an example is code"


def test_a_wrong_default_is_corrected_and_the_meaning_stays() -> None:
    page = (CHECKOUT / "docs" / "settings.md").read_text()
    wrong = page.replace("| `quiet_seconds` | `300` |", "| `quiet_seconds` | `299` |")
    assert wrong != page
    assert settings_page(wrong) == page


@pytest.mark.parametrize("key", Settings.model_fields)
def test_a_setting_has_a_meaning_and_a_cure(key: str) -> None:
    text = text_of(Settings.model_fields[key])
    assert text.meaning
    assert "|" not in text.meaning, "it would end the cell of its table"
    assert text.cure
    assert not text.cure.endswith(".")
