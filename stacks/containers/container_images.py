"""The containers that train and host, as AWS publishes them in every region."""

import json
import os
from importlib import metadata
from pathlib import Path

KEPT_ANSWERS = Path(__file__).resolve().parents[2] / ".build" / "container-images.json"
"""What the sagemaker package has answered: it takes as long to load as all the rest of a synthesis."""


def training_image(region: str, instance: str) -> str:
    """Image that trains and evaluates: Hugging Face's transformers on PyTorch.

    Raises:
        ValueError: AWS publishes none for this region or instance.
    """
    return _image(
        framework="huggingface",
        region=region,
        version="5.3.0",
        base_framework_version="pytorch2.9.0",
        py_version="py312",
        image_scope="training",
        instance_type=instance,
    )


def hosting_image(region: str, instance: str) -> str:
    """Image that answers: vLLM.

    Raises:
        ValueError: AWS publishes none for this region or instance.
    """
    return _image(
        framework="vllm", region=region, version="0.30.0", image_scope="inference", instance_type=instance
    )


def registry_account(image: str) -> str:
    """Account whose registry an image is in."""
    return image.split(".", 1)[0]


def _image(**asked: str) -> str:
    """Ask the sagemaker package, once for each of its versions."""
    question = json.dumps({"sagemaker-core": metadata.version("sagemaker-core"), **asked}, sort_keys=True)
    answers = _kept()
    if question not in answers:
        from sagemaker.core import image_uris  # noqa: PLC0415 (seconds)

        answers[question] = str(image_uris.retrieve(**asked))
        _keep(answers)
    return answers[question]


def _kept() -> dict[str, str]:
    try:
        answers: dict[str, str] = json.loads(KEPT_ANSWERS.read_text())
    except (OSError, ValueError):
        return {}
    return answers


def _keep(answers: dict[str, str]) -> None:
    """Replace the file whole: another synthesis may be reading it."""
    KEPT_ANSWERS.parent.mkdir(exist_ok=True)
    new = KEPT_ANSWERS.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(answers, indent=2, sort_keys=True) + "\n")
    new.replace(KEPT_ANSWERS)
