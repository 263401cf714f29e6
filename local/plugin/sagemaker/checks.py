"""Checks and folders that several resources share."""

import os
import shutil
from pathlib import Path

from local.environment import Folders
from local.plugin.ministack_adapter import role_trusts
from local.plugin.sagemaker.errors import invalid

PRINCIPAL = "sagemaker.amazonaws.com"


def require_trusted(role_arn: str) -> None:
    """Raise `ApiError` unless SageMaker may assume the role."""
    if not role_trusts(role_arn, PRINCIPAL):
        raise invalid(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{PRINCIPAL}' to assume the role."
        )


def start_folder(kind: str, name: str) -> Path:
    """Make an empty folder ``<state>/sagemaker/<kind>/<name>``: the disk of the job's instance."""
    folder = Folders(Path(os.environ["STORYLOOM_LOCAL_STATE"])).sagemaker / kind / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
