"""Says in words what became of the files: whether it is enough, what it will take, what to look at."""

from stories.models import DataReport, Grade

CLEAR_CHANGE_WORDS = 25_000
"""A slim book: about eighty pages, or ten short stories."""
PLENTY_WORDS = 100_000
"""A novel."""


def grade(words: int, minimum_words: int) -> tuple[Grade, int]:
    """Judge an amount of text.

    Args:
        words: there are.
        minimum_words: that training needs.

    Returns:
        the grade, and how many more words reach the next one; 0 for the last.
    """
    if words < minimum_words:
        return "far too little", minimum_words - words
    if words < CLEAR_CHANGE_WORDS:
        return "too little", CLEAR_CHANGE_WORDS - words
    if words < PLENTY_WORDS:
        return "enough", PLENTY_WORDS - words
    return "plenty", 0


def verdict(report: DataReport, minimum_words: int, works_cut: int) -> str:
    """Put a report into words.

    Args:
        report: the report, whose own verdict is not read.
        minimum_words: words that training needs.
        works_cut: works so large that only their end is held out.
    """
    if not report.enough:
        return " ".join([_too_little(report, minimum_words), *_left_out(report)])
    return " ".join(
        [
            _judged(report),
            _used(report),
            *_large_works(report, works_cut),
            *_left_out(report),
            _effort(report),
        ]
    )


def _judged(report: DataReport) -> str:
    """Say what to expect of a training with this much text."""
    if report.grade == "too little":
        return (
            "This is too little for a sure result: expect repetition and a faint change of voice. "
            f"Add about {_rounded(report.words_to_next_grade):,} words."
        )
    if report.grade == "enough":
        return "This is enough for a clear change of voice."
    return "This is plenty: expect a clear change of voice, and room for the model to vary."


def _too_little(report: DataReport, minimum_words: int) -> str:
    have = f"There are {_count(report.words, 'word')} in {_count(report.stories, 'story', 'stories')}"
    if report.words < minimum_words:
        return (
            f"{have}; training needs at least {minimum_words:,}. Drop at least "
            f"{_count(minimum_words - report.words, 'more word')} of stories into the bucket and a new run "
            "starts by itself. Nothing was spent on a GPU."
        )
    return (
        f"{have}, which cannot be divided into some to learn from and some to test with. Drop more stories, "
        "or the same ones as separate files, and a new run starts by itself. Nothing was spent on a GPU."
    )


def _used(report: DataReport) -> str:
    train, validation, test = (report.split[part] for part in ("train", "validation", "test"))
    return (
        f"{_count(report.words, 'word')} in {_count(report.stories, 'story', 'stories')}: "
        f"{train.words:,} to learn from, {validation.words:,} to watch the learning, "
        f"{test.words:,} held out for the test."
    )


def _large_works(report: DataReport, works_cut: int) -> list[str]:
    if not works_cut:
        return []
    what = "One work is" if works_cut == 1 else f"{works_cut} works are"
    gap = report.words - sum(size.words for size in report.split.values())
    return [
        f"{what} so large a part of the text that the test has only the end of it, after a gap of "
        f"{_count(gap, 'word')} that is not used: a test of how the work goes on, not of a new one."
    ]


def _left_out(report: DataReport) -> list[str]:
    said = []
    lost = report.files - report.kept
    if lost:
        said.append(f"{_count(lost, 'file')} could not be used; the list says why and what to do.")
    elif report.rejected:
        said.append(f"{_count(len(report.rejected), 'part')} of files could not be used; the list says why.")
    if report.duplicates:
        said.append(
            f"{_count(len(report.duplicates), 'story', 'stories')} said the same as another and counted once."
        )
    return said


def _effort(report: DataReport) -> str:
    minutes = (
        f"Training should take about {_count(max(1, round(report.training_minutes_estimate)), 'minute')}"
    )
    if report.cost_estimate_usd is None:
        return f"{minutes} at most; the price of this instance type is not known here."
    cost = f"${report.cost_estimate_usd:.2f} on demand"
    if report.spot:
        cost = f"${report.cost_estimate_spot_usd:.2f} on spot machines, or {cost}"
    return (
        f"{minutes} and, with the test, cost about {cost} (prices of {report.price_date}). "
        f"The time limits keep it below ${report.cost_at_most_usd:.2f} in any case."
    )


def _rounded(words: int) -> int:
    """Round up to a figure that one can remember: two digits."""
    step: int = 10 ** max(0, len(str(words)) - 2)
    return -(-words // step) * step


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
