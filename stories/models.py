"""What passes through the library: a record for each story, a reject for each file that cannot be used."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Frozen):
    """One version of one file that a person dropped."""

    key: str
    """Its path, with `/` between folders."""
    version: str = ""
    modified_at: str = ""
    """When that version was written, as UTC ISO text; the newest of two duplicates stays."""


class Message(_Frozen):
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
    """How often."""
    removed: int
    """Characters less than before; negative where some were added."""
    before: str
    """What the first place looked like, at most 200 characters."""
    after: str


class Record(_Frozen):
    """One story, read and cleaned."""

    kind: Literal["record"] = "record"
    id: str
    """First 16 hex digits of sha256 over the NFC text."""
    title: str
    title_read: bool = True
    """Whether the title stood in the file; else it is made of the file's name."""
    text: str
    source_key: str
    source_version: str
    entry: str | None = None
    """File inside the zip."""
    modified_at: str
    position: int = 0
    """Place among the stories of the same file, from 0."""
    work: str
    """Key that chapters of one book share: they belong to the same work."""
    language: str
    """ISO 639-1 code, or `und` where the text is too short to tell."""
    words: int
    messages: tuple[Message, ...] | None = None
    """The chat itself, where the file held one; `text` is then the assistant's words."""
    characters_read: int = 0
    """Of the text before cleaning. Less what `changes` removed, it is `characters_kept`."""
    changes: tuple[Change, ...] = ()

    @property
    def characters_kept(self) -> int:
        """Length of the text, and of the title where it stood in the file."""
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
    """Of text that was read and is not used; 0 where none could be read."""


DuplicateKind = Literal["exact", "near", "draft", "part"]


class Duplicate(_Frozen):
    """Two stories that say the same, or one of which is part of the other: one stays, one is left out."""

    kept: str
    """File of the story that stays."""
    dropped: str
    kind: DuplicateKind
    similarity: float
    """Estimated from five-word shingles, 0 to 1: Jaccard; for a part, the share of it that the whole has."""
    why: str = ""
    """In words: what makes them one story, and why this one stays."""


class Cleaning(_Frozen):
    """What cleaning changed in all stories, of one kind, with the first place as a sample."""

    kind: ChangeKind
    stories: int
    """How many stories it was found in."""
    places: int
    removed: int
    """Characters less than before; negative where some were added."""
    source: str
    """File of the sample."""
    before: str
    after: str


class Outcomes(_Frozen):
    """What became of the files, each counted once."""

    used: int = 0
    """All that was in them went into the dataset."""
    partly: int = 0
    """Some of it did; the rest was rejected."""
    repeated: int = 0
    """They hold nothing that is not in another file too."""
    rejected: int = 0


class LengthRange(_Frozen):
    """How many stories are of about one length."""

    from_words: int
    to_words: int | None
    """Up to, not including; None where there is no end."""
    stories: int


class Lengths(_Frozen):
    """How long the stories are, in words; a chapter counts as a story."""

    shortest: int = 0
    median: int = 0
    longest: int = 0
    ranges: tuple[LengthRange, ...] = ()
    """From the shortest story's range to the longest's, without gaps."""


Grade = Literal["far too little", "too little", "enough", "plenty"]


class PartSize(_Frozen):
    """How large one part of the dataset is."""

    stories: int = 0
    words: int = 0
    examples: int = 0


class DataReport(_Frozen):
    """What became of the files, in figures and in words."""

    run_id: str
    files: int
    """Files looked at; `kept` of them gave at least one story."""
    files_from_cache: int = 0
    """Of `files`, how many had not changed since a run before, so that they were not read again."""
    kept: int
    rejected: Sequence[Reject]
    stories: int
    """Stories after duplicates were left out."""
    words: int
    languages: dict[str, int]
    """Stories by ISO 639-1 code."""
    duplicates: Sequence[Duplicate]
    split: dict[Part, PartSize]
    enough: bool
    """Whether training goes ahead; it does with too little as well, but not with far too little."""
    verdict: str
    training_minutes_estimate: float
    """At most the limit set for training, which is also the estimate where speed or size are not known."""
    cost_estimate_usd: float | None
    """Of training and evaluation, on demand; None for an instance whose price we do not know."""
    price_date: str = Field(pattern=r"^(\d{4}-\d{2})?$")
    """Of what month the price is; empty if it is not known."""
    price_source: str = ""
    """Who gave the price, in words for people."""
    grade: Grade = "far too little"
    """Of the number of words."""
    minimum_words: int = 0
    """Words that training needs; with fewer the grade is "far too little"."""
    words_to_next_grade: int = 0
    """How many more words reach the next grade; 0 where there is none."""
    works: int = 0
    """Books and single stories; the chapters of a book are one work."""
    languages_words: dict[str, int] = {}
    """Words by ISO 639-1 code."""
    lengths: Lengths = Lengths()
    outcomes: Outcomes = Outcomes()
    cleaning: Sequence[Cleaning] = ()
    """Kinds of change that were made, the most frequent first."""
    base_model: str = ""
    """The model that will be taught, as the settings name it."""
    instance: str = ""
    """SageMaker instance type of training and evaluation."""
    spot: bool = False
    """Whether training waits for spare machines, which cost less."""
    cost_estimate_spot_usd: float | None = None
    """The same with training on spot; evaluation never is."""
    cost_at_most_usd: float | None = None
    """What the time limits of both jobs allow, on demand: the bill for them cannot be higher."""
