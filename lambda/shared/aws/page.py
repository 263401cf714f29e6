"""Where the page is, for messages that send people there."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities import parameters

from contracts import environment

log = Logger(service="page")


def link(view: str, else_words: str) -> str:
    """The address of one of the page's views. Without it a message must still reach the owner.

    Args:
        view: what comes after `#/`, such as `models`.
        else_words: what to say instead where the page's address is not known.
    """
    name = environment.read(environment.PageAddress).page_url_parameter
    try:
        url = parameters.get_parameter(name)
    except parameters.exceptions.GetParameterError:
        log.warning("The page's address is not known", extra={"parameter": name})
        return else_words
    return f"{str(url).rstrip('/')}/#/{view}"
