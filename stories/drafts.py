"""Recognise drafts of one story by their names, and which of two drafts is the later one."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from stories.works import is_chapter_title

_EARLY = (
    "draft|rough|wip|old|backup|bak|outline|entwurf|rohfassung|brouillon|ébauche|borrador|bozza|rascunho"
    "|klad|concept"
)
_LATE = (
    "final|finished|revised|rewritten|rewrite|edited|edit|corrected|clean|new|latest|last"
    "|endfassung|überarbeitet|korrigiert|finale|définitive|corrigée?|definitiv[ao]|revisad[ao]|corregid[ao]"
    "|corrett[ao]|corrigid[ao]|definitief|herzien"
)
_VERSION = "version|vers|ver|v|revision|rev|fassung|versión|versione|versão|versie"
_COPY = "copy|kopie|copie|copia|cópia"
# Only at the end of a name, after a separator: “The Last Ferry” is a title, “ferry last” is a draft.
_MARK = re.compile(
    rf"(?:[-_.\s]+[(\[]?|[(\[])(?:(?:(?P<early>{_EARLY})|(?P<late>{_LATE})|(?:{_VERSION})|(?:{_COPY}))"
    r"[-_.\s]*(?P<number>\d{1,3})?|(?P<date>\d{4}[-_.]\d{2}[-_.]\d{2})|(?<=[(\[])(?P<count>\d{1,2}))[)\]]*$",
    re.I,
)
_COPY_OF = re.compile(r"^(?:copy of|kopie von|copie de|copia (?:de|di)|cópia de|kopie van)\s+", re.I)


@dataclass(frozen=True)
class DraftName:
    """A name without its draft marks, such as `v2` or `final`."""

    story: str
    """The name that all drafts of the story share; empty if the name consists of marks only."""
    revision: tuple[int, int]
    """Sort key of drafts of one story, from early to late; (0, 0) if the name has no marks."""


def draft_name(name: str) -> DraftName:
    """Split a name into story and revision: `the-ferry v2 (final)` is a late draft of "the ferry"."""
    left = _COPY_OF.sub("", name.strip())
    stages: list[int] = []
    numbers: list[int] = []
    while found := _MARK.search(left):
        stages += [-1] if found["early"] else [1] if found["late"] else []
        numbers += [
            int(re.sub(r"\D", "", digits)) for digits in found.group("number", "count", "date") if digits
        ]
        left = left[: found.start()]
    story = re.sub(r"[\W_]+", " ", left).strip().casefold()
    if re.fullmatch(rf"{_EARLY}|{_LATE}|{_VERSION}|{_COPY}", story):
        story = ""
    # “Final draft” is a final version.
    return DraftName(story, (max(stages, default=0), max(numbers, default=0)))


def story_names(path: str, title: str) -> frozenset[str]:
    """Return the names of a story, from its file and its title; drafts of one story share a name."""
    named = [] if is_chapter_title(title) else [draft_name(title).story]
    return frozenset(filter(None, [draft_name(PurePosixPath(path).stem).story, *named]))
