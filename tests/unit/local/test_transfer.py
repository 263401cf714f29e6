"""Archives of models are unpacked where they lie, with any Python from 3.11.0 on, and nowhere else."""

import io
import tarfile
from pathlib import Path

import pytest

from local.aws.sagemaker.transfer import unpack_archives


def _archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    folder.mkdir()
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return folder


def _link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def test_files_and_folders_lie_where_they_lay(tmp_path: Path) -> None:
    empty = tarfile.TarInfo("empty")
    empty.type = tarfile.DIRTYPE
    files = (tarfile.TarInfo("config.json"), b"{}"), (tarfile.TarInfo("./base/a/weights"), b"\0" * 3_000_000)
    folder = _archive(tmp_path / "model", (empty, b""), *files)
    unpack_archives(folder)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert found == {"empty", "config.json", "base", "base/a", "base/a/weights"}
    assert (folder / "base/a/weights").stat().st_size == 3_000_000


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("/outside"),
        _link("link", "/etc/passwd"),
        _link("l", ".."),
    ],
)
def test_nothing_leaves_its_folder(tmp_path: Path, member: tarfile.TarInfo) -> None:
    folder = _archive(tmp_path / "model", (member, b""))
    with pytest.raises(tarfile.ExtractError, match="leads out of"):
        unpack_archives(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "model.tar.gz"]
