"""Put a data report into words: whether the text is enough, what training will take, what to check."""

from stories.report.data_report import DataReport, Grade

CLEAR_CHANGE_WORDS = 25_000
"""Words of a slim book: about eighty pages, or ten short stories."""
PLENTY_WORDS = 100_000
"""Words of a novel."""


def grade_words(words: int, minimum_words: int) -> tuple[Grade, int]:
    """Grade an amount of text.

    Args:
        words: number of words.
        minimum_words: words that training needs.

    Returns:
        the grade, and the words missing for the next one; 0 for the last.
    """
    if words < minimum_words:
        return "far too little", minimum_words - words
    if words < CLEAR_CHANGE_WORDS:
        return "too little", CLEAR_CHANGE_WORDS - words
    if words < PLENTY_WORDS:
        return "enough", PLENTY_WORDS - words
    return "plenty", 0


def verdict(report: DataReport, minimum_words: int, works_cut: int) -> str:
    """Return the verdict of a report.

    Args:
        report: the report; its own verdict is ignored.
        minimum_words: words that training needs.
        works_cut: number of works so large that only their end is held out.
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
    """Return what to expect from training with this much text."""
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
        f"{what} so large a part of the text that only the end is held out for the test, after a gap of "
        f"{_count(gap, 'word')} that is not used: it tests how the work continues, not a new one."
    ]


def _left_out(report: DataReport) -> list[str]:
    said = []
    lost = report.files - report.kept
    if lost:
        said.append(f"{_count(lost, 'file')} could not be used; the list gives reasons and cures.")
    elif report.rejected:
        said.append(
            f"{_count(len(report.rejected), 'part')} of files could not be used; the list gives reasons."
        )
    if report.duplicates:
        said.append(
            f"{_count(len(report.duplicates), 'story', 'stories')} repeated another one and counted once."
        )
    return said


def _effort(report: DataReport) -> str:
    minutes = (
        f"Training should take about {_count(max(1, round(report.training_minutes_estimate)), 'minute')}"
    )
    if report.cost_estimate_usd is None:
        return f"{minutes} at most; the price of this instance type is not known."
    cost = f"${report.cost_estimate_usd:.2f} on demand"
    if report.spot:
        cost = f"${report.cost_estimate_spot_usd:.2f} on spot machines, or {cost}"
    return (
        f"{minutes} and, with the test, cost about {cost} (prices of {report.price_date}). "
        f"The time limits keep it below ${report.cost_at_most_usd:.2f} in any case."
    )


def _rounded(words: int) -> int:
    """Round up to two significant digits."""
    step: int = 10 ** max(0, len(str(words)) - 2)
    return -(-words // step) * step


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
