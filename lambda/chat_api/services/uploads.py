"""What a caller may name a file that is sent here."""

from chat_api.dependencies.errors import ApiError
from stories import file_rules


def checked_name(name: str) -> str:
    """Return a file's name as it is written everywhere: composed, and with slashes between its folders.

    Raises:
        ApiError: 422 if it cannot be a key in S3, or cannot be shown safely.
    """
    normalized = file_rules.normalize_name(name)
    fault = file_rules.name_problem(normalized)
    if fault is not None:
        raise ApiError(
            422,
            "invalid_request",
            f"{file_rules.printable(normalized)[:200]!r} cannot be the name of a file here: {fault}.",
            "Rename the file, for instance to story.txt, and send it again.",
        )
    return normalized
