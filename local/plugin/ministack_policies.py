"""Caches parsed policies.

MiniStack reads every policy of a role from its JSON twice for each call of an AWS API.
"""

from functools import lru_cache
from typing import Any

from ministack.core import iam_evaluator


def install() -> None:
    """Cache policies by their text: a changed policy is another text."""
    read = iam_evaluator.parse_policy_document
    kept = lru_cache(maxsize=1024)(read)

    def parse(document: Any) -> list[Any]:
        return list(kept(document)) if isinstance(document, str) else read(document)

    iam_evaluator.parse_policy_document = parse
