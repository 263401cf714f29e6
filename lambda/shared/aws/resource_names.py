"""Which of the account's SageMaker resources are this app's, by the whole of their names.

Several apps may share an account and a region, and one's name may begin with another's: of `storyloom`, the
resources of `storyloom-two` and `storyloom-batch` are found by prefix and by NameContains too.
"""

import re
from collections.abc import Iterable

from contracts import environment

_RUN_ID = r"\d{8}-\d{6}-[0-9a-f]{4}"
_DIGEST = "[0-9a-f]{8}"


def is_hosting(name: str) -> bool:
    """Whether this app gives this name to an endpoint configuration, and to the model that it hosts."""
    return _is_named(name, rf"-v\d+-[a-z0-9]+-[a-z0-9]+-{_DIGEST}")


def is_batch_model(name: str) -> bool:
    """Whether this app gives this name to the model of a transform job."""
    return _is_named(name, rf"-batch-v\d+-{_DIGEST}")


def is_job(name: str, prefixes: Iterable[str]) -> bool:
    """Whether this is a prefix of the app's jobs and a run or batch, with what an attempt or trial adds."""
    prefix = "|".join(re.escape(prefix) for prefix in prefixes)
    return re.fullmatch(rf"({prefix}){_RUN_ID}(-.*)?", name) is not None


def _is_named(name: str, rest: str) -> bool:
    return re.fullmatch(re.escape(environment.common().name) + rest, name) is not None
