"""Files that the jobs get from earlier states of the run: the trained model's archive, the staged base
model."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

from storyloom_jobs.container import JobError

MODEL_ARCHIVE = "model.tar.gz"

_STAGED = "staged.json"
"""Written when the base model was copied into the bucket: the SHA-256 of each file, and how to host it."""


def unpack_model(folder: Path, into: Path) -> Path:
    """Unpack the archive that SageMaker made of a training job's model folder; return `into`.

    Raises:
        JobError: the archive is missing or damaged, or has links or paths that lead out of its folder.
    """
    archive = folder / MODEL_ARCHIVE
    if not archive.is_file():
        raise JobError(f"The training job left no {MODEL_ARCHIVE}: start the run again.")
    into.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                _write(packed, member, into)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise JobError(f"{MODEL_ARCHIVE} of the training job cannot be unpacked: {error}") from error
    return into


def _write(packed: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    # The same rule as tarfile's `data` filter, which Python 3.11.2 does not have yet.
    target = (into / member.name).resolve()
    if not target.is_relative_to(into.resolve()) or not (member.isfile() or member.isdir()):
        raise tarfile.ExtractError(f"{member.name!r} is a link, or leads out of the archive")
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
    elif (content := packed.extractfile(member)) is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)


def is_hosted_merged(base_model: Path) -> bool:
    """Check whether versions of this base model are hosted as merged weights rather than as adapters.

    The inference server takes no adapters for some architectures, such as GPT-2's (docs/decisions/0011). That
    was decided when the base model was staged.
    """
    staged = base_model / _STAGED
    if not staged.exists():
        return False
    return bool(json.loads(staged.read_text(encoding="utf-8")).get("hosting") == "merged")


def base_model_sha256(folder: Path) -> str:
    """Hash a base model by the hashes recorded when it was staged, or by its files if there are none."""
    staged = folder / _STAGED
    if not staged.exists():
        return folder_sha256(folder, "*")
    files = json.loads(staged.read_text(encoding="utf-8"))["files"]
    named = "".join(f"{name}\0{files[name]['sha256']}\0" for name in sorted(files))
    return hashlib.sha256(named.encode()).hexdigest()


def folder_sha256(folder: Path, pattern: str) -> str:
    """Hash the names and contents of the folder's files that match the pattern."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(compute_sha256(path).encode() + b"\0")
    return digest.hexdigest()


def compute_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
