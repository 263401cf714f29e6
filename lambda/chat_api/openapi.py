"""Writes the API's OpenAPI description.

`PYTHONPATH=lambda python -m chat_api.openapi > docs/openapi.json`
"""

import json
import sys

from chat_api.app import create_app


def document() -> str:
    """Return the description as JSON, as it is committed."""
    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
