"""The errors of the stand-in: of its services' APIs, and of starting it."""

from dataclasses import dataclass


class LocalCloudError(RuntimeError):
    """The local cloud cannot do this; the message has the reason and the cure."""


@dataclass(eq=False)
class AwsError(Exception):
    """An error of the API: `code` as SDKs name the exception, `message` for people.

    Not frozen: a context manager that it passes through writes its traceback into it.
    """

    code: str
    message: str
    status: int = 400

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid(message: str) -> AwsError:
    """Return the error of a request that SageMaker refuses."""
    return AwsError("ValidationException", message)


def not_found(kind: str, arn: str) -> AwsError:
    """Return the error of a missing resource: SageMaker has no 404, but a validation error."""
    return AwsError("ValidationException", f'Could not find {kind} "{arn}".')


def in_use(message: str) -> AwsError:
    """Return the error of a name that is taken."""
    return AwsError("ResourceInUse", message)
