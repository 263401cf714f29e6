"""The pages that are written from the code are up to date."""

from pathlib import Path

import pytest

from docs.generated import PAGES, MissingMeaningError, commands_page, settings_page

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = (DOCS / name).read_text()
    assert PAGES[name](page) == page, "run: make docs"


def test_the_page_of_commands_has_each_with_its_options_and_examples() -> None:
    page = commands_page()
    assert "## `storyloom check`" in page
    assert "### `storyloom models activate`" in page
    assert "* `--base-model <str>`" in page
    assert "* `check`: See what your stories will make, before anything is uploaded or spent.\n" in page
    assert "\n    storyloom check ~/stories\n" in page, "an example is code"


def test_a_wrong_default_is_corrected_and_the_meaning_stays() -> None:
    page = (DOCS / "settings.md").read_text()
    wrong = page.replace("| `quiet_seconds` | `300` |", "| `quiet_seconds` | `299` |")
    assert wrong != page
    assert settings_page(wrong) == page


def test_a_setting_without_a_meaning_is_named() -> None:
    page = (DOCS / "settings.md").read_text()
    lines = [line for line in page.splitlines() if not line.startswith("| `spot`")]
    with pytest.raises(MissingMeaningError, match="does not explain spot"):
        settings_page("\n".join(lines) + "\n")
