"""Find the people and places of a story by how their names are used in sentences.

A name is a word that is often capitalised in the middle of a sentence. A person is a name that says or does
something; a place is a name after a preposition such as "in". In other cases, as in scripts without capitals,
nothing is found: a prompt with a wrong name would teach the model to ignore prompts.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

# No word is longer. Without a limit each hyphen of a chain would start a search to its end.
_REST = r"[\w\u2019'-]{0,60}"
_CAPITAL = rf"[A-ZÀ-ÖØ-Þ]{_REST}[\w]"
_NAME = rf"{_CAPITAL}(?: {_CAPITAL}){{0,3}}"
# In mid-sentence: after a lower-case word or a comma, because the first word of a sentence is always
# capitalised.
_IN_SENTENCE = re.compile(
    rf"(?P<before>\b[a-zß-öø-ÿ]{_REST},?|,) (?P<name>{_NAME})(?P<after>(?: [a-zß-öø-ÿ]\w*)?)"
)
_OPENS_SENTENCE = re.compile(
    rf"(?:^|[.!?…][\"”\u2019»]?\s+|[“\"«]|— ?)(?P<name>{_NAME}) (?P<after>[a-zß-öø-ÿ]\w*)", re.M
)
_MIN_MENTIONS = 3
_MIN_ACTS = 2
_MIN_PLACED = 2
_MAX_ARTICLES = 0.2
_MOSTLY = 0.5
_POSSESSIVE = re.compile(r"[\u2019']s?$")


@dataclass(frozen=True)
class _Language:
    """Function words and verbs that show whether a name is a person or a place."""

    acts: frozenset[str]
    """Verbs of which persons are the subject."""
    places: frozenset[str]
    """Prepositions before a place."""
    articles: frozenset[str]
    """Articles, which stand before things and titles, but not before a person's name."""
    no_names: frozenset[str]
    """Capitalised words that are neither."""
    every_noun: bool = False
    """Whether every noun is capitalised. Then only names that speak, in `acts`, count, and no places."""


@dataclass(frozen=True)
class Names:
    """The people and places of a story, the most frequent first."""

    people: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LANGUAGES = {
    "en": _Language(
        acts=_words(
            "said asked told answered replied cried called was had went came looked took thought knew made "
            "would "
            "could did has is says stood sat gave got put saw turned wanted laughed felt kept never always"
        ),
        places=_words("in into near across through outside"),
        articles=_words("the a an this that every each no"),
        no_names=_words(
            "Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May "
            "June July "
            "August September October November December God Lord Christmas Easter English French German "
            "Sir Madam "
            "Mr Mrs Ms Miss Dr Mother Father Uncle Aunt Captain Doctor King Queen She He It They We You "
            "Nobody Everybody Somebody There This That"
        ),
    ),
    "de": _Language(
        acts=_words("sagte fragte rief antwortete dachte meinte flüsterte erwiderte lachte"),
        places=_words("in nach aus bei"),
        articles=_words(
            "der die das dem den des ein eine einen einem einer eines kein keine im am zum zur vom"
        ),
        no_names=_words(
            "Sie Ihr Ihnen Ihre Gott Herr Frau Mutter Vater Mann Kind Junge Mädchen Niemand Jemand"
        ),
        every_noun=True,
    ),
    "fr": _Language(
        acts=_words(
            "dit demanda répondit cria murmura était avait alla vint regarda prit pensa savait fit ne se"
        ),
        places=_words("à dans vers près"),
        articles=_words("le la les un une des du au aux ce cette"),
        no_names=_words("Dieu Noël Pâques Monsieur Madame Mademoiselle Seigneur"),
    ),
    "es": _Language(
        acts=_words(
            "dijo preguntó respondió gritó era estaba había fue vino miró tomó pensó sabía hizo no se"
        ),
        places=_words("en hacia desde"),
        articles=_words("el la los las un una unos unas al del este esta"),
        no_names=_words("Dios Señor Señora Navidad Usted Don Doña"),
    ),
    "it": _Language(
        acts=_words("disse chiese rispose gridò era aveva andò venne guardò prese pensò sapeva fece non si"),
        places=_words("a in verso da"),
        articles=_words("il lo la i gli le un uno una al del dal nel questo questa"),
        no_names=_words("Dio Signore Signora Natale Lei Pasqua"),
    ),
    "pt": _Language(
        acts=_words(
            "disse perguntou respondeu gritou era estava tinha foi veio olhou pensou sabia fez não se"
        ),
        places=_words("em para até"),
        articles=_words("um uma uns umas do da no na ao à este esta"),
        no_names=_words("Deus Senhor Senhora Natal Você Dom Dona"),
    ),
    "nl": _Language(
        acts=_words("zei vroeg antwoordde riep was had ging kwam keek nam dacht wist maakte zou kon"),
        places=_words("in te naar bij uit"),
        articles=_words("de het een dit dat deze die geen"),
        no_names=_words("God Heer Meneer Mevrouw Kerstmis Pasen Nederlands"),
    ),
}


def find_names(text: str, language: str) -> Names:
    """Return the people and the places of a story.

    Args:
        text: cleaned text.
        language: ISO 639-1 code; in unsupported languages nothing is found.
    """
    known = _LANGUAGES.get(language)
    if known is None:
        return Names()
    seen, acts, placed, articles = _count(text, known)
    often = [
        name
        for name, count in sorted(seen.items(), key=lambda item: (-item[1], item[0]))
        if articles[name] <= _MAX_ARTICLES * count and (count >= _MIN_MENTIONS or placed[name] == count)
    ]
    people = _apart(name for name in often if acts[name] >= _MIN_ACTS and not placed[name])
    spoken = {word for name in people for word in name.split()}
    places = _apart(
        name
        for name in often
        if placed[name] >= max(_MIN_PLACED, _MOSTLY * seen[name]) and not spoken & set(name.split())
    )
    return Names(people, () if known.every_noun else places)


def _count(text: str, known: _Language) -> tuple[Counter[str], ...]:
    """Count for each name how often it occurs, acts, is a place, and has an article before it."""
    seen, acts, placed, articles = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for found in _IN_SENTENCE.finditer(text):
        name = _POSSESSIVE.sub("", found["name"])
        if name.split()[-1] in known.no_names:
            continue
        before, after = found["before"].strip(","), found["after"].strip()
        seen[name] += 1
        acts[name] += before in known.acts or after in known.acts
        placed[name] += before in known.places
        articles[name] += before in known.articles
    for found in _OPENS_SENTENCE.finditer(text):
        name = found["name"]
        if name in seen and found["after"] in known.acts:
            seen[name] += 1
            acts[name] += 1
    return seen, acts, placed, articles


def _apart(names: Iterable[str]) -> tuple[str, ...]:
    """Leave out names that share a word with an earlier one: Crake is Harbourmaster Crake."""
    used: set[str] = set()
    kept = []
    for name in names:
        if not used & set(name.split()):
            kept.append(name)
        used |= set(name.split())
    return tuple(kept)
