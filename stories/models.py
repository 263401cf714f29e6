"""The types that the library's packages share: a record for each story, a reject for each unusable file."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Frozen):
    """One version of one uploaded file."""

    key: str
    """Its path, with `/` between folders."""
    version: str = ""
    modified_at: str = ""
    """Time of that version, as UTC ISO text; of two duplicates the newer one is kept."""


class ChatTurn(_Frozen):
    """One turn of a chat."""

    role: Literal["user", "assistant"]
    content: str


ChangeKind = Literal[
    "mojibake",
    "invisible characters",
    "wrapped lines",
    "hyphenation",
    "page numbers",
    "running heads",
    "contents",
    "licence",
    "white space",
    "title",
]


class Change(_Frozen):
    """One kind of change that cleaning made to a story."""

    kind: ChangeKind
    places: int
    """Number of places that changed."""
    removed: int
    """Characters removed; negative if some were added."""
    before: str
    """The first place before the change, at most 200 characters."""
    after: str


class Record(_Frozen):
    """One story, read and cleaned."""

    kind: Literal["record"] = "record"
    id: str
    """First 16 hex digits of sha256 over the NFC text."""
    title: str
    title_read: bool = True
    """Whether the title was in the file; otherwise it is made from the file's name."""
    text: str
    source_key: str
    source_version: str
    entry: str | None = None
    """File inside the zip."""
    modified_at: str
    position: int = 0
    """Index among the stories of the same file, from 0."""
    work: str
    """Key that the chapters of one book share."""
    language: str
    """ISO 639-1 code, or `und` if the text is too short to identify."""
    words: int
    messages: tuple[ChatTurn, ...] | None = None
    """The chat, if the file contained one; `text` then holds the assistant's messages."""
    characters_read: int = 0
    """Characters before cleaning. Minus what `changes` removed, this is `characters_kept`."""
    changes: tuple[Change, ...] = ()

    @property
    def characters_kept(self) -> int:
        """Length of the text, and of the title if it was in the file."""
        return len(self.text) + (len(self.title) if self.title_read else 0)


class Reject(_Frozen):
    """A file, or a part of one, that cannot be used, and what to do about it."""

    kind: Literal["reject"] = "reject"
    source_key: str
    source_version: str
    entry: str | None = None
    """File inside the zip, or `line 7` of a .jsonl; None for the whole file."""
    reason: str
    cure: str
    characters: int = 0
    """Characters that were read and are not used; 0 if none could be read."""


DuplicateKind = Literal["exact", "near", "draft", "part"]


class Duplicate(_Frozen):
    """Two stories with the same content, or one that is part of the other: one is kept, one is dropped."""

    kept: str
    """File of the story that is kept."""
    dropped: str
    kind: DuplicateKind
    similarity: float
    """0 to 1, estimated from five-word shingles: Jaccard similarity; for a part, its share in the whole."""
    why: str = ""
    """Why they count as one story and why this one is kept, in words."""


class Cleaning(_Frozen):
    """One kind of change that cleaning made, summed over all stories, with the first place as a sample."""

    kind: ChangeKind
    stories: int
    """Number of stories with this change."""
    places: int
    removed: int
    """Characters removed; negative if some were added."""
    source: str
    """File of the sample."""
    before: str
    after: str


class Outcomes(_Frozen):
    """How many files were used, in part or not; each file counts once."""

    used: int = 0
    """All of their text is in the dataset."""
    partly: int = 0
    """Part of their text is in the dataset; the rest was rejected."""
    repeated: int = 0
    """All of their text is also in other files."""
    rejected: int = 0


class LengthRange(_Frozen):
    """Number of stories whose length is in a range."""

    from_words: int
    to_words: int | None
    """End of the range, exclusive; None for the last range."""
    stories: int


class Lengths(_Frozen):
    """Lengths of the stories in words; a chapter counts as a story."""

    shortest: int = 0
    median: int = 0
    longest: int = 0
    ranges: tuple[LengthRange, ...] = ()
    """Ranges from the shortest story's to the longest's, without gaps."""


Grade = Literal["far too little", "too little", "enough", "plenty"]


class PartSize(_Frozen):
    """Size of one part of the dataset."""

    stories: int = 0
    words: int = 0
    examples: int = 0


class DataReport(_Frozen):
    """The data report: what was found in the files, how it is used, and what training will take."""

    run_id: str
    files: int
    """Files read; `kept` of them contained at least one story."""
    files_from_cache: int = 0
    """How many of `files` had not changed since an earlier run, so that they were not read again."""
    kept: int
    rejected: Sequence[Reject]
    stories: int
    """Stories without duplicates."""
    words: int
    languages: dict[str, int]
    """Stories by ISO 639-1 code."""
    duplicates: Sequence[Duplicate]
    split: dict[Part, PartSize]
    enough: bool
    """Whether training goes ahead; it does with grade "too little", but not with "far too little"."""
    verdict: str
    training_minutes_estimate: float
    """At most the time limit, which is also the estimate if speed or size are not known."""
    cost_estimate_usd: float | None
    """Cost of training and evaluation on demand; None if the instance's price is not known."""
    price_date: str = Field(pattern=r"^(\d{4}-\d{2})?$")
    """Month of the price; empty if it is not known."""
    price_source: str = ""
    """Source of the price, in words for people."""
    grade: Grade = "far too little"
    """Grade of the number of words."""
    minimum_words: int = 0
    """Words that training needs; with fewer the grade is "far too little"."""
    words_to_next_grade: int = 0
    """Words missing for the next grade; 0 if there is none."""
    works: int = 0
    """Number of works: single stories and books, with all their chapters."""
    languages_words: dict[str, int] = {}
    """Words by ISO 639-1 code."""
    lengths: Lengths = Lengths()
    outcomes: Outcomes = Outcomes()
    cleaning: Sequence[Cleaning] = ()
    """Kinds of change, the most frequent first."""
    base_model: str = ""
    """The base model, as named in the settings."""
    instance: str = ""
    """SageMaker instance type of training and evaluation."""
    spot: bool = False
    """Whether training runs on spot instances, which cost less."""
    cost_estimate_spot_usd: float | None = None
    """The same with training on spot; the evaluation always runs on demand."""
    cost_at_most_usd: float | None = None
    """Cost on demand at the time limits of both jobs: the bill for them cannot be higher."""
