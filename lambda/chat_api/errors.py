"""The errors of the API, in the shape that OpenAI's clients read: `{"error": {type, message, cure}}`."""

from typing import Any

from pydantic import BaseModel

STATUS_CODES = {
    "invalid_request": 422,
    "unauthorized": 401,
    "not_allowed": 403,
    "not_found": 404,
    "internal_error": 500,
    # month's limit
    "monthly_limit_reached": 402,
    "price_unknown": 402,
    # requests to the model
    "answer_broke_off": 502,
    "answer_cancelled": 409,
    "answer_too_long": 422,
    "conflicting_fields": 422,
    "daily_budget_spent": 429,
    "model_asleep": 503,
    "model_error": 502,
    "model_failing": 503,
    "model_not_found": 404,
    "model_unavailable": 503,
    "model_waking": 503,
    "no_model_yet": 409,
    "prompt_too_long": 413,
    "too_many_answers": 429,
    "too_many_at_once": 429,
    "too_many_messages": 413,
    "too_many_requests": 429,
    "unknown_field": 422,
    "unsupported_field": 422,
    # runs and versions
    "already_answered": 409,
    "cannot_resume": 409,
    "has_ended": 409,
    "in_use": 409,
    "not_approved": 409,
    "nothing_to_answer": 409,
    "other_base_model": 409,
    "too_many_runs": 429,
    "was_approved": 409,
    # stories and batches
    "bad_line": 422,
    "batch_too_long": 413,
    "empty_batch": 422,
    "file_changed": 409,
    "file_too_large": 413,
    "has_begun": 409,
    "no_machine_for_batches": 409,
    "not_checked": 409,
    "not_finished": 409,
    "not_uploaded": 409,
    "too_many_batches": 429,
    "too_many_lines": 413,
    "unknown_machine": 422,
    # people
    "already_exists": 409,
    "last_owner": 409,
    "people_being_changed": 409,
    "too_many_invitations": 429,
}
"""The HTTP status of each type of error."""


class ErrorDetail(BaseModel):
    """What went wrong and what to do about it."""

    type: str
    message: str
    cure: str
    code: str | None = None
    """The same as `type`, where OpenAI's clients look for it."""
    stage: str | None = None
    """503: asleep, waking or failing."""
    expected_seconds: int | None = None
    """503: an estimate of how long until the model answers."""
    line: int | None = None
    """The number of the wrong line in a file of prompts; the first is 1."""
    answer: dict[str, Any] | None = None
    """The text so far, if an answer in one piece ended early."""


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class ApiError(Exception):
    """An error that the caller can do something about."""

    def __init__(
        self,
        kind: str,
        message: str,
        cure: str,
        *,
        retry_after_seconds: int | None = None,
        should_retry: bool = True,
        stage: str | None = None,
        expected_seconds: int | None = None,
        line: int | None = None,
    ) -> None:
        """Describe the error.

        Args:
            kind: one of `STATUS_CODES`.
            message: what happened, for people.
            cure: what to do, for people.
            retry_after_seconds: when the same request may succeed.
            should_retry: False if OpenAI's clients must not repeat the request by themselves.
            stage: the state of a model that does not answer.
            expected_seconds: an estimate of how long until it answers.
            line: the number of the wrong line in a file of prompts.
        """
        super().__init__(message)
        self.status = STATUS_CODES[kind]
        self.headers: dict[str, str] = {}
        if retry_after_seconds is not None:
            self.headers["Retry-After"] = str(retry_after_seconds)
        if not should_retry:
            self.headers["x-should-retry"] = "false"
        self.detail = ErrorDetail(
            type=kind,
            message=message,
            cure=cure,
            code=kind,
            stage=stage,
            expected_seconds=expected_seconds,
            line=line,
        )

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        return ErrorBody(error=self.detail).model_dump(exclude_none=True)


def unauthorized_error() -> ApiError:
    """Return the error for a request without a valid sign-in."""
    return ApiError(
        "unauthorized",
        "You are not signed in, or your sign-in has expired.",
        "Sign in again and send the new ID token, or an API key, as: Authorization: Bearer <token>.",
    )


def internal_error() -> ApiError:
    """Return the error for a fault of the API itself; the log has the details."""
    return ApiError(
        "internal_error",
        "Something went wrong on our side.",
        "Try again. If it happens again, look at the log of the chat API in CloudWatch Logs.",
    )
