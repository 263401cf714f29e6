"""Tables of docs/ that the templates write: compared with the page, or written into it like a snapshot."""

import re
from pathlib import Path

import pytest


def check_table(page: Path, head: str, table: str, config: pytest.Config) -> None:
    """Fail unless a page has exactly this table; with `--snapshot-update` it is written into the page.

    Args:
        page: the Markdown file.
        head: first two lines of the table, by which it is found.
        table: all its lines, the head among them.
        config: of pytest.
    """
    text = page.read_text()
    if config.getoption("update_snapshots"):
        text = re.sub(re.escape(head) + r"(?:\|[^\n]*\n)*", lambda _: table, text, count=1)
        page.write_text(text)
    assert table in text, f"{page.name} is out of date: run pytest tests/templates --snapshot-update"
