"""The archive that SageMaker makes of a training job's model folder."""

import shutil
import tarfile
from pathlib import Path

from training_code.container import JobError

MODEL_ARCHIVE = "model.tar.gz"


def unpack_model(folder: Path, into: Path) -> Path:
    """Unpack the model archive that lies in `folder`, and return the folder with its files.

    Raises:
        JobError: there is no archive, it is damaged, or it has links or leads out of its folder.
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
