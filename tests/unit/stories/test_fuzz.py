"""No bytes crash a reader or exceed its time or memory; `make fuzz` searches for longer."""

import pytest

from tests.unit.stories.fuzzing import alarm, formats, fuzz
from tests.unit.stories.material import prose, read

_UNITS = (" ", "\n", "\t", "a", "A", "0", "*", "-", "_", ".", "—", "(", "<", "&", "\\", "{", "I", "|", "漢")
_PAIRS = ("a ", "a-", ". ", " \n", "a\n", "- ", "* ", "I ", "1.", "a=", "&a", "\r\n", "- \n", "* * * ")


@pytest.mark.parametrize("suffix", formats())
def test_a_reader_survives_files_that_are_nearly_right(suffix: str) -> None:
    assert fuzz(suffix, seconds=1, fewest=11).faults == []


@pytest.mark.parametrize("unit", [*_UNITS, *_PAIRS])
def test_a_line_of_one_repeated_text_takes_no_time(unit: str) -> None:
    # A quadratic pattern takes several seconds for one of these.
    again = unit * (30_000 // len(unit))
    text = prose(1, 60)
    read("warm.txt", text.encode())
    with alarm(5):
        read("within.txt", f"{text[:80]} {again} {text}".encode())
        read("apart.txt", f"{text}\n\n{again}\n\n{text}".encode())
