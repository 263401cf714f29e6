"""A fixture that assembles a dataset in a temporary folder."""

from collections.abc import Callable

import pytest

from tests.unit.stories.material import Assembled, Lines, assemble_into


@pytest.fixture
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Assembled]:
    """Return a function that assembles lines; it returns the report and each part's bytes."""

    def run(lines: Lines, **changes: object) -> Assembled:
        return assemble_into(tmp_path_factory.mktemp("dataset"), lines, **changes)

    return run
