"""The code that a bundle brings into the container, over the small server: an answer can be cancelled."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.endpoint_server.bundle_code import VARIABLE, middleware
from shared.hosting.endpoint_configs import CONTAINER_VARIABLES
from tests.unit.endpoint.conftest import Server, serving
from tests.unit.endpoint.test_server import wait_until_idle

CODE = Path(__file__).parents[3] / "lambda" / "deploy" / "name_adapter.py"
# the likeliest tokens of this model never end by themselves
BODY: dict[str, Any] = {"model": "v1", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}


@pytest.fixture(scope="module")
def with_code(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of a bundle with its code, under the container's variables."""
    folder = tmp_path_factory.mktemp("with-code") / "bundle"
    shutil.copytree(model_folder, folder)
    shutil.copy(CODE, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, CONTAINER_VARIABLES[VARIABLE])
        with serving(folder) as server:
            yield server


def _ask(server: Server, attributes: str, **more: Any) -> dict[str, Any]:
    return {
        "url": f"{server.url}/invocations",
        "json": {**BODY, **more},
        "headers": {"X-Amzn-SageMaker-Custom-Attributes": attributes},
        "timeout": 60,
    }


def _cancel(server: Server, answer_id: str) -> bool:
    answer = httpx.post(**_ask(server, f"storyloom-cancel={answer_id}"))
    return bool(answer.json()["cancelled"])


def test_a_cancelled_stream_ends_cleanly_while_it_is_read(with_code: Server) -> None:
    with httpx.stream("POST", **_ask(with_code, "storyloom-answer=a1", stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        assert not _cancel(with_code, "another")
        assert with_code.active() == 1
        assert _cancel(with_code, "a1")
        rest = list(lines)
    assert "data: [DONE]" not in rest
    wait_until_idle(with_code)
    assert not _cancel(with_code, "a1"), "it has ended"


def test_an_answer_that_nobody_cancels_is_whole(with_code: Server) -> None:
    whole = httpx.post(**_ask(with_code, "storyloom-answer=a2", max_tokens=8)).json()
    assert whole["usage"]["completion_tokens"] == 8
    assert not _cancel(with_code, "a2")


@pytest.mark.parametrize("named", ["gone.py:NameAdapter", "name_adapter.py:Gone"])
def test_code_that_cannot_be_loaded_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    shutil.copy(CODE, tmp_path)
    assert middleware({VARIABLE: named}, tmp_path) is None
    assert "cannot be loaded" in capsys.readouterr().out
    assert middleware({}, tmp_path) is None
