"""Whether the Chat stack is deployed: its keeper alone puts an endpoint to sleep, so without it none is made.

The Pipeline stack is deployed before it and works without it. If the Chat stack's first creation failed, or
it alone was destroyed, an endpoint would bill until somebody notices.
"""

from botocore.exceptions import ClientError

from contracts import environment
from shared.aws import clients

_MISSING = (
    "The Chat stack is not deployed, so nothing would put the model to sleep, and its instance would bill "
    "without end. Deploy it with npx --no-install cdk deploy --all"
)


class ChatNotDeployedError(Exception):
    """There is no keeper, so no endpoint may be made."""


def is_deployed() -> bool:
    """Look for the parameter that the Chat stack writes after its keeper is ready.

    Raises:
        ClientError: if it could not be read.
    """
    name = environment.read(environment.PageAddress).page_url_parameter
    try:
        clients.ssm().get_parameter(Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return False
        raise
    return True


def require(version: str) -> None:
    """Refuse to have a version hosted without the Chat stack.

    Raises:
        ChatNotDeployedError: if it is not deployed.
        ClientError: if that could not be read.
    """
    if not is_deployed():
        raise ChatNotDeployedError(refuse_deployment(version))


def refuse_deployment(version: str) -> str:
    """Say why a version is not hosted, and how to go on."""
    return f"{_MISSING}. The version is kept as it is; then deploy it: storyloom models activate {version}"


def refuse_run() -> str:
    """Say why a run ends before its training, and how to go on."""
    kept = "your stories are kept, and nothing was spent on a GPU"
    return f"{_MISSING}; {kept}. Then start a run: storyloom start"
