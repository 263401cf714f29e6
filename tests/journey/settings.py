"""Settings of the deployed functions, changed for a while: all that a setting changes there is a variable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.journey.deployed_app import Deployed


@contextmanager
def changed(deployed: Deployed, **values: str) -> Iterator[None]:
    """Gives the function that has such environment variables others."""
    functions = deployed.client("lambda")
    (name,) = [
        function["FunctionName"]
        for page in functions.get_paginator("list_functions").paginate()
        for function in page["Functions"]
        if values.keys() <= function.get("Environment", {}).get("Variables", {}).keys()
    ]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**before, **values}}
    )
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": before})
