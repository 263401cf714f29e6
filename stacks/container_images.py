"""The containers that train and host, as AWS publishes them in every region."""

from sagemaker.core import image_uris


def training_image(region: str, instance: str) -> str:
    """Image that trains and evaluates: Hugging Face's transformers on PyTorch.

    Raises:
        ValueError: AWS publishes none for this region or instance.
    """
    return str(
        image_uris.retrieve(
            framework="huggingface",
            region=region,
            version="5.3.0",
            base_framework_version="pytorch2.9.0",
            py_version="py312",
            image_scope="training",
            instance_type=instance,
        )
    )


def hosting_image(region: str, instance: str) -> str:
    """Image that answers: vLLM.

    Raises:
        ValueError: AWS publishes none for this region or instance.
    """
    return str(
        image_uris.retrieve(
            framework="vllm", region=region, version="0.30.0", image_scope="inference", instance_type=instance
        )
    )


def registry_account(image: str) -> str:
    """Account whose registry an image is in."""
    return image.split(".", 1)[0]
