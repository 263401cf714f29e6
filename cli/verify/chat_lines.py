"""Proofs that the model answers people and programs, and that an answer can be stopped."""

from __future__ import annotations

import io
import json
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from cli.api.connection import TIMEOUT
from cli.verify.outcome import NotProvenError, Proof
from cli.verify.verification import Verification
from contracts import statuses
from contracts.statuses import FINAL_BATCH_STATUSES

_PROMPT = "Tell me a long story about a lighthouse."
_STREAM_TOKENS = 160
_LONG_TOKENS = 3000
_STOP_SECONDS = 3.0
_CLOUDFRONT_SECONDS = 60.0
"""CloudFront's limit for the first byte of the API."""
_REVOKED_SECONDS = 120
_BATCH_SECONDS = 60 * 60
_PROMPT_TOKENS_AT_MOST = 64
_LOCAL_LONGEST_SECONDS = 10.0
_REFUSED = {401, 403}
_LONG_ANSWER = httpx.Timeout(900.0, connect=10.0)


def prove_stream(verification: Verification) -> Proof:
    """Prove that an answer is streamed token by token, not all at the end."""
    started = time.monotonic()
    arrivals: list[float] = []
    tokens = 0
    for chunk in _stream(verification, _STREAM_TOKENS):
        tokens += 1 if chunk else 0
        arrivals.append(time.monotonic())
    if tokens < 2:
        raise NotProvenError("The stream had no text.")
    spread = arrivals[-1] - arrivals[0]
    distinct = len({round(at, 2) for at in arrivals})
    if distinct < 5:
        raise NotProvenError(
            f"{tokens} pieces arrived at {distinct} points in time: the stream is buffered somewhere."
        )
    verification.tokens_per_second = tokens / max(spread, 0.01)
    return Proof(
        f"first word after {arrivals[0] - started:.2f} s, {tokens} pieces in {spread:.1f} s, then [DONE]"
    )


def prove_stop(verification: Verification) -> Proof:
    """Prove that a long answer ends when it is cancelled, and that only generated tokens are counted."""
    answer_id, before = str(uuid.uuid4()), verification.api.status()["usage"]["tokens_today"]
    pieces, cancelled_at = 0, 0.0
    for piece in _stream(verification, _LONG_TOKENS, {"X-Answer-Id": answer_id}, whole=False):
        pieces += 1 if piece else 0
        if pieces == 3 and not cancelled_at:
            cancelled_at = time.monotonic()
            httpx.post(
                f"{verification.app.page_url}/api/v1/answers/{answer_id}/cancel",
                headers=verification.api.connection.headers,
                timeout=TIMEOUT,
            ).raise_for_status()
    if not cancelled_at:
        raise NotProvenError("The answer ended before it could be stopped.")
    seconds = time.monotonic() - cancelled_at
    if seconds > _STOP_SECONDS:
        raise NotProvenError(f"The answer continued for {seconds:.1f} s after it was stopped.")

    def counted() -> int | None:
        used = int(verification.api.status()["usage"]["tokens_today"]) - int(before)
        return used or None

    used = verification.wait(counted, 30, "the tokens of the stopped answer to be counted")
    if used > pieces + _PROMPT_TOKENS_AT_MOST:
        raise NotProvenError(f"{pieces} pieces were generated, and {used} tokens were counted.")
    return Proof(f"ended {seconds:.1f} s after the stop; {pieces} pieces generated, {used} tokens counted")


def prove_one_piece(verification: Verification) -> Proof:
    """Prove that a long answer without streaming arrives complete, however long it takes."""
    longest = _LOCAL_LONGEST_SECONDS if verification.app.is_local else 1.3 * _CLOUDFRONT_SECONDS
    tokens = max(64, min(_LONG_TOKENS, round(longest * verification.tokens_per_second)))
    started = time.monotonic()
    answer = httpx.post(
        f"{verification.app.page_url}/api/v1/chat/completions",
        # vLLM continues after the end of the story, so that the answer takes long.
        json={"model": "storyloom", "messages": _messages(), "max_tokens": tokens, "ignore_eos": True},
        headers=verification.api.connection.headers,
        timeout=_LONG_ANSWER,
    )
    seconds = time.monotonic() - started
    if answer.is_error or "error" in (whole := answer.json()):
        raise NotProvenError(f"The API answered {answer.status_code}: {_message(answer.text)}")
    written = whole.get("usage", {}).get("completion_tokens") or 0
    if not whole["choices"][0]["message"]["content"]:
        raise NotProvenError("The answer in one piece has no text.")
    longer = "longer" if seconds > _CLOUDFRONT_SECONDS else "shorter"
    limit = f"{longer} than CloudFront's {_CLOUDFRONT_SECONDS:.0f} s"
    return Proof(f"{written} tokens, complete after {seconds:.0f} s ({limit})")


def prove_key(verification: Verification) -> Proof:
    """Prove that a new key allows only its scopes, and nothing after it is revoked."""
    made = verification.api.create_key(f"storyloom-verify-{secrets.token_hex(3)}", ["chat"], 60)
    verification.created_keys.append(made["key_id"])
    headers = {"Authorization": f"Bearer {made['key']}"}

    def ask(path: str) -> int:
        return httpx.get(
            f"{verification.app.page_url}/api{path}", headers=headers, timeout=TIMEOUT
        ).status_code

    if (allowed := ask("/v1/models")) != httpx.codes.OK:
        raise NotProvenError(f"With the key, GET /api/v1/models answered {allowed}.")
    if (beyond := ask("/runs")) not in _REFUSED:
        raise NotProvenError(f"The key may only chat, and GET /api/runs answered {beyond}.")
    verification.api.revoke_key(made["key_id"])
    started = time.monotonic()
    verification.wait(
        lambda: ask("/v1/models") in _REFUSED or None, _REVOKED_SECONDS, "the key to be refused"
    )
    seconds = time.monotonic() - started
    return Proof(f"it allowed only the chat, and was refused {seconds:.0f} s after it was revoked")


def prove_batch(verification: Verification) -> Proof:
    """Prove that a transform job answers two prompts sent as a file, and that the answers come back."""
    lines = [{"custom_id": f"line-{number}", "prompt": _PROMPT} for number in (1, 2)]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    wanted = {"model": "storyloom", "max_tokens": 24, "name": "storyloom-verify.jsonl", "size": len(content)}
    batch_id = verification.batch_id = str(
        verification.api.create_batch(wanted, io.BytesIO(content))["batch_id"]
    )
    verification.bill.count_jobs(batch_id)
    verification.api.check_batch(batch_id)
    verification.api.start_batch(batch_id)

    def ended() -> dict[str, Any] | None:
        batch = verification.api.batch(batch_id)
        verification.show_progress(f"batch: {batch['status']}, {batch.get('message') or ''}")
        return batch if batch["status"] in FINAL_BATCH_STATUSES else None

    batch = verification.wait(ended, _BATCH_SECONDS, "the batch")
    if batch["status"] != statuses.COMPLETED:
        raise NotProvenError(f"The batch ended as {batch['status']}: {batch.get('message')}")
    results = verification.api.batch_results(batch_id)
    answers = httpx.get(results["url"], timeout=TIMEOUT).raise_for_status().text.splitlines()
    if results["answered"] != len(lines) or len(answers) != len(lines):
        raise NotProvenError(f"{results['answered']} of {len(lines)} prompts were answered.")
    return Proof(f"{len(answers)} of {len(lines)} prompts answered, and the link to the answers opens")


def _stream(
    verification: Verification, max_tokens: int, headers: dict[str, str] | None = None, *, whole: bool = True
) -> Iterator[str]:
    """Yield the text of each chunk of a streamed answer.

    Raises:
        NotProvenError: it was refused, broke off or, if it should be `whole`, did not end with `[DONE]`.
    """
    body = {"model": "storyloom", "messages": _messages(), "stream": True, "max_tokens": max_tokens}
    done = False
    with httpx.stream(
        "POST",
        f"{verification.app.page_url}/api/v1/chat/completions",
        json=body,
        headers={**verification.api.connection.headers, **(headers or {})},
        timeout=TIMEOUT,
    ) as answer:
        if answer.is_error:
            answer.read()
            raise NotProvenError(f"The API answered {answer.status_code}: {_message(answer.text)}")
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                done = True
            elif line.startswith("data: "):
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    if not whole and chunk["error"].get("code") == "answer_cancelled":
                        return
                    raise NotProvenError(f"The answer broke off: {chunk['error'].get('message')}")
                for choice in chunk.get("choices", []):
                    yield (choice.get("delta") or {}).get("content") or ""
    if whole and not done:
        raise NotProvenError("The stream ended without [DONE].")


def _messages() -> list[dict[str, str]]:
    return [{"role": "user", "content": _PROMPT}]


def _message(body: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200]
