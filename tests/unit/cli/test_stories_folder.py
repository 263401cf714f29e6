from pathlib import Path

import pytest

from cli.console import CommandError
from cli.stories_folder import story_files


def test_files_keep_their_folder_as_prefix_and_hidden_ones_stay_behind(tmp_path: Path) -> None:
    folder = tmp_path / "tales"
    (folder / "part one").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name in ("a.txt", "part one/b.md", ".DS_Store", ".git/config"):
        (folder / name).write_text("x")
    assert [name for _, name in story_files(folder)] == ["tales/a.txt", "tales/part one/b.md"]


def test_one_file_goes_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text("x")
    assert story_files(tmp_path / "tale.txt") == [(tmp_path / "tale.txt", "tale.txt")]


def test_a_name_that_cannot_be_uploaded_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    folder = tmp_path / "tales"
    folder.mkdir()
    (folder / "a.txt").write_text("x")
    (folder / "\u202etxt.exe").write_text("x")
    with pytest.raises(CommandError) as refused:
        story_files(folder)
    assert "tales/<U+202E>txt.exe" in refused.value.message
    assert "Rename" in str(refused.value.cure)


def test_a_name_of_a_mac_has_the_key_that_the_page_would_give_it(tmp_path: Path) -> None:
    (tmp_path / "U\u0308ber.txt").write_text("x")
    assert [key for _, key in story_files(tmp_path / "U\u0308ber.txt")] == ["Über.txt"]


@pytest.mark.parametrize("make", [True, False], ids=["empty", "missing"])
def test_nothing_to_send_is_said_with_its_cure(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "tales"
    if make:
        folder.mkdir()
    with pytest.raises(CommandError) as refused:
        story_files(folder)
    assert str(folder) in refused.value.message
    assert refused.value.cure
