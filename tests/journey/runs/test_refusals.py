"""What a person does wrong is refused with a JSON body that says what to do, and costs nothing."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from tests.journey.deployed_app import PATIENCE_S, Deployed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]


def _error(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    assert error["type"] and error["message"] and error["cure"]
    return error


@pytest.mark.parametrize("token", [None, "nonsense", "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"])
def test_wrong_credentials_are_401(deployed: Deployed, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = httpx.get(f"{deployed.api.connection.url}/api/runs", headers=headers, timeout=PATIENCE_S)
    assert response.status_code == 401
    _error(response)


def test_a_prompt_beyond_the_limit_is_413(deployed: Deployed) -> None:
    limit = deployed.api.status()["limits"]["prompt_characters"]
    response = httpx.post(
        f"{deployed.api.connection.url}/api/v1/chat/completions",
        headers=deployed.api.connection.headers,
        json={"model": "storyloom", "messages": [{"role": "user", "content": "x" * (limit + 1)}]},
        timeout=PATIENCE_S,
    )
    assert response.status_code == 413
    assert str(limit) in _error(response)["message"].replace(",", "")


def test_an_empty_bucket_ends_the_run_before_training(deployed: Deployed) -> None:
    deployed.start_afresh()
    run = deployed.finished_run(deployed.start_run())
    assert run["status"] == "stopped_early"
    assert "empty" in run["message"] or "no " in run["message"].lower()
    assert not run.get("training_job")


def test_too_little_text_says_how_much_is_needed_and_lists_what_it_could_not_read(deployed: Deployed) -> None:
    deployed.start_afresh()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("../outside.txt", "a story that wants to escape " * 20)
    run = deployed.drop_and_finish(
        {
            "short.txt": b"Once upon a time there was a very short story. " * 20,
            "picture.txt": bytes(range(256)) * 40,
            "trick.zip": archive.getvalue(),
        }
    )
    assert run["status"] == "stopped_early"
    assert "words" in run["message"]
    report = deployed.api.run(run["run_id"])["report"]
    rejected = {reject["source_key"]: reject for reject in report["rejected"]}
    assert set(rejected) == {"picture.txt", "trick.zip"}
    assert all(reject["reason"] and reject["cure"] for reject in rejected.values())
