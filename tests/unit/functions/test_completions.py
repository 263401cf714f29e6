"""Completions of a text: the `openai` client, and what completions share with chats."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from shared.answers import usage
from tests.unit.functions.api_server import running
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

PERSON = caller_headers()
COMPLETE = "/api/v1/completions"
PROMPT = "Once upon a hill"
WORDS = [" there ", "was ", "— ", "nobody."]


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    chunk = {"id": "c1", "object": "text_completion", "created": 5, "model": "v1", "choices": choices, **more}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


def _piece(text: str, reason: str | None = None) -> bytes:
    return _event([{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}])


@pytest.fixture
def awake(awake_v1: StandIn) -> StandIn:
    """v1 live, and going on with a text as vLLM does."""
    counts = {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}
    awake_v1.stream = [
        *map(_piece, WORDS),
        _piece("", "length"),
        _event([], usage=counts),
        b"data: [DONE]\n\n",
    ]
    return awake_v1


@pytest.fixture
def api(resources: DeployedResources) -> Iterator[TestClient]:
    """The app, for a person who has signed in."""
    with TestClient(app, headers=PERSON, raise_server_exceptions=False) as client:
        yield client


def test_the_openai_client_completes_streaming_and_in_one_piece(awake: StandIn) -> None:
    with running() as url:
        client = openai.OpenAI(
            base_url=f"{url}/api/v1", api_key="token", default_headers=PERSON, max_retries=0
        )
        stream = client.completions.create(
            model="storyloom", prompt=PROMPT, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        whole = client.completions.create(model="v1", prompt=[PROMPT], max_tokens=5, stop=["The end"], seed=3)
        with pytest.raises(openai.NotFoundError, match="no model 'v9'"):
            client.completions.create(model="v9", prompt=PROMPT)
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "".join(WORDS)
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 9
    assert (whole.object, whole.id, whole.model) == ("text_completion", "c1", "v1")
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("".join(WORDS), "length")
    assert whole.choices[0].logprobs is None
    assert whole.usage == chunks[-1].usage
    first, second = awake.asked
    assert (first["model"], first["prompt"], first["stream"]) == ("v1", PROMPT, True)
    assert (second["prompt"], second["max_tokens"], second["stop"]) == ([PROMPT], 5, ["The end"])
    assert second["stream"] is True, "SageMaker ends an answer in one piece after 60 seconds"
    assert "messages" not in first
    assert usage.today("u1").tokens == 18


def test_an_interrupted_completion_keeps_its_text(awake: StandIn, api: TestClient) -> None:
    awake.stream, awake.dies = list(map(_piece, WORDS)), True
    whole = api.post(COMPLETE, json={"prompt": PROMPT})
    assert whole.status_code == 502
    assert whole.json()["error"]["answer"]["choices"][0]["text"] == "".join(WORDS)
    assert whole.json()["error"]["type"] == "answer_broke_off"
    streamed = api.post(COMPLETE, json={"prompt": PROMPT, "stream": True}).text
    assert "answer_broke_off" in streamed.rstrip().rpartition("\n\n")[2]
    assert usage.today("u1").tokens == 2 * (6 + len(WORDS)), "a guess of the prompt, and the words"


def test_the_limits_of_a_chat_hold(awake: StandIn, api: TestClient) -> None:
    limit = api.get("/api/status").json()["limits"]["prompt_characters"]
    assert api.post(COMPLETE, json={"prompt": "x" * limit}).status_code == 200
    for prompt in ("x" * (limit + 1), ["x" * (limit + 1)]):
        long = api.post(COMPLETE, json={"prompt": prompt})
        assert long.status_code == 413
        assert long.json()["error"]["cure"] == "Shorten the prompt by 1 characters or more."
    answer = api.post(COMPLETE, json={"prompt": PROMPT, "max_tokens": 4096})
    assert answer.status_code == 422
    assert "this prompt leaves the model room for 4090" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": PROMPT, "top_p": 2}, "top_p"),
        ({"prompt": PROMPT, "messages": [{"role": "user", "content": "x" * 99_999}]}, "messages"),
    ],
)
def test_a_malformed_request_says_where(
    awake: StandIn, api: TestClient, body: dict[str, Any], where: str
) -> None:
    answer = api.post(COMPLETE, json=body)
    assert answer.status_code == 422
    assert where in answer.json()["error"]["message"]
    assert PROMPT not in answer.text
    assert awake.asked == []


def test_a_chat_with_a_prompt_is_refused(api: TestClient) -> None:
    both = {"messages": [{"role": "user", "content": "x"}], "prompt": PROMPT}
    answer = api.post("/api/v1/chat/completions", json=both)
    assert answer.status_code == 422
    assert "a chat has no prompt" in answer.json()["error"]["message"]


def test_before_the_first_model(api: TestClient) -> None:
    answer = api.post(COMPLETE, json={"prompt": PROMPT})
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "no_model_yet")
