"""No bytes break a reader, keep it busy or fill the memory; `make fuzz` looks for longer."""

import pytest

from tests.unit.stories.fuzzing import formats, fuzz


@pytest.mark.parametrize("suffix", formats())
def test_a_reader_survives_files_that_are_nearly_right(suffix: str) -> None:
    found = fuzz(suffix, seconds=2)
    assert found.executions > 10
    assert found.faults == []
