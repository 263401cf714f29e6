"""What the Chat stack provides: the endpoint manager, without which no endpoint may be made, and the page.

The Pipeline stack is deployed before the Chat stack and works without it. But only the endpoint manager puts
an endpoint to sleep. If the Chat stack's first creation failed, or it alone was destroyed, an endpoint would
bill until somebody notices.
"""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities import parameters
from botocore.exceptions import ClientError

from contracts import environment
from shared.aws import clients

log = Logger(service="chat_stack")

_MISSING = (
    "The Chat stack is not deployed, so nothing would put the model to sleep, and its instance would bill "
    "without end. Deploy it with npx --no-install cdk deploy --all"
)


class ChatNotDeployedError(Exception):
    """There is no endpoint manager, so no endpoint may be created."""


def is_deployed() -> bool:
    """Return whether the Chat stack has written its parameter, as it does when the endpoint manager is ready.

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


def require_deployed(version: str) -> None:
    """Raise an error if the Chat stack is not deployed, because nothing would put the endpoint to sleep.

    Raises:
        ChatNotDeployedError: if it is not deployed.
        ClientError: if that could not be read.
    """
    if not is_deployed():
        raise ChatNotDeployedError(deployment_refusal(version))


def deployment_refusal(version: str) -> str:
    """Return why a version is not hosted, and what to do."""
    return f"{_MISSING}. The version is kept as it is; then deploy it: storyloom models activate {version}"


def run_refusal() -> str:
    """Return why a run ends before its training, and what to do."""
    kept = "your stories are kept, and nothing was spent on a GPU"
    return f"{_MISSING}; {kept}. Then start a run: storyloom start"


def page_link(view: str, else_words: str) -> str:
    """Return the URL of one of the page's views; a message must reach the owner even without it.

    Args:
        view: what comes after `#/`, such as `models`.
        else_words: what to return if the page's URL is not known.
    """
    name = environment.read(environment.PageAddress).page_url_parameter
    try:
        url = parameters.get_parameter(name)
    except parameters.exceptions.GetParameterError:
        log.warning("The page's URL is not known", extra={"parameter": name})
        return else_words
    return f"{str(url).rstrip('/')}/#/{view}"
