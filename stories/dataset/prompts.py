"""Build the prompts of training examples: requests as a person would write them who has not read the story.

They ask by title, by people and places, or by the opening. No model is paid to write them; everything they
name is taken from the text.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from stories.dataset.names import find_names
from stories.dataset.windows import last_sentences
from stories.language import estimate_tokens
from stories.records import Record
from stories.structure.titles import is_chapter_title, work_title

# A quarter of the prompts give the opening, a quarter the title, half what the story is about; if that is not
# known, the title is used.
_KINDS = ("opening", "about", "title", "about")
_TAIL_TOKENS = 48
_OPENING_TOKENS = 120
_MAX_NAMES = 2
# “The Tin Rooster” can be used in a sentence as it is, “Page Forty” cannot.
_TOPIC_WORDS = frozenset({"the", "a", "an", "how", "what", "why"})
_SMALL = re.compile(r"[A-Z][a-z\u2019'-]*$")


class PromptBuilder:
    """Builds the prompts of one story. A seed chooses the templates, so that they are always the same."""

    def __init__(self, record: Record, title: str) -> None:
        self._record = record
        self._title = title
        self._templates = templates_for(record.language)

    def first(self, window: str, seed: int) -> tuple[str, str]:
        """Return the prompt of the story's first window, and the answer."""
        kind, seed = _KINDS[seed % len(_KINDS)], seed // len(_KINDS)
        opening, _, rest = window.partition("\n\n")
        fits = estimate_tokens(opening, self._record.language) <= _OPENING_TOKENS
        if kind == "opening" and rest.strip() and fits:
            return _pick(self._templates.opening, seed).format(text=opening.strip()), rest.strip()
        request = self._about(window, seed) if kind == "about" else None
        return request or self._by_title(seed), window.strip()

    def continuation(self, before: str, window: str, seed: int) -> tuple[str, str]:
        """Return the prompt of a later window, with the sentences before it, and the answer."""
        said = last_sentences(before, _TAIL_TOKENS, self._record.language)
        return _pick(self._templates.continuation, seed).format(title=self._title, text=said), window.strip()

    def _by_title(self, seed: int) -> str:
        chapter = is_chapter_title(self._record.title)
        requests = self._templates.chapter if chapter else self._templates.title
        return _pick(requests, seed).format(title=self._title)

    def _about(self, window: str, seed: int) -> str | None:
        """Return a prompt that names the people, place or topic of the window; None if none is certain."""
        names = find_names(self._record.text, self._record.language)
        people = [name for name in names.people if name in window][:_MAX_NAMES]
        place = next((name for name in names.places if name in window), None)
        who = self._templates.conjunction.join(people if seed % 2 else people[:1])
        requests = list(self._templates.topic) if self._topic else []
        if who and place:
            requests += self._templates.who_where
        if who:
            requests += self._templates.who
        if place:
            requests += self._templates.where
        if not requests:
            return None
        return _pick(requests, seed // 2).format(who=who, where=place, topic=self._topic)

    @cached_property
    def _topic(self) -> str | None:
        """Title as written in mid-sentence, or None if it cannot be used there."""
        first, *others = self._record.title.split()
        if self._record.language != "en" or first.casefold() not in _TOPIC_WORDS or not others:
            return None
        return " ".join([first.casefold(), *(self._in_sentence(word) for word in others)])

    def _in_sentence(self, word: str) -> str:
        """Lower the first letter of a title's word, unless the story capitalises it in mid-sentence too."""
        is_name = re.search(rf"[a-z,] {re.escape(word)}\b", self._record.text)
        return word if is_name or not _SMALL.match(word) else word.casefold()


def full_title(record: Record) -> str:
    """Return the title, after the work's title if it is only a number: `Emma, Chapter 3`."""
    work = work_title(record.work)
    return f"{work}, {record.title}" if work and is_chapter_title(record.title) else record.title


def _pick(requests: tuple[str, ...] | list[str], seed: int) -> str:
    return requests[seed % len(requests)]


@dataclass(frozen=True)
class PromptTemplates:
    """Templates of prompts by kind. Placeholders: title, who, where, topic, text."""

    title: tuple[str, ...]
    chapter: tuple[str, ...]
    who: tuple[str, ...]
    who_where: tuple[str, ...]
    where: tuple[str, ...]
    topic: tuple[str, ...]
    opening: tuple[str, ...]
    continuation: tuple[str, ...]
    conjunction: str
    """Text between two names."""


_ENGLISH = PromptTemplates(
    title=(
        "Tell me the story of “{title}”.",
        "Write a story called “{title}”.",
        "Tell me a story called “{title}”.",
        "I would like to hear the story “{title}”.",
        "Write the story “{title}”.",
        "Please tell me “{title}”.",
    ),
    chapter=(
        "Write “{title}”.",
        "Tell me what happens in “{title}”.",
        "I would like to read “{title}”.",
    ),
    who=(
        "Tell me a story about {who}.",
        "Write a story about {who}.",
        "I'd like a story about {who}, please.",
        "Can you tell me something that happened to {who}?",
    ),
    who_where=(
        "Tell me a story about {who}. It should take place in {where}.",
        "Write a story about {who}, set in {where}.",
        "I'd like to hear about {who} and what happened in {where}.",
    ),
    where=(
        "Tell me a story that takes place in {where}.",
        "Write a story set in {where}.",
        "What happened in {where}? Tell me a story.",
    ),
    topic=(
        "Tell me a story about {topic}.",
        "Write a story about {topic}.",
        "Please tell me about {topic}.",
        "I want to hear the one about {topic}.",
    ),
    opening=(
        "Here is how a story begins. Tell me the rest.\n\n{text}",
        "Continue this story:\n\n{text}",
        "A story opens like this. What happens then?\n\n{text}",
    ),
    continuation=(
        "Continue the story “{title}”:\n\n{text}",
        "Go on with “{title}” from here:\n\n{text}",
        "What happens next in “{title}”?\n\n{text}",
    ),
    conjunction=" and ",
)

_WORDINGS = {
    "en": _ENGLISH,
    "de": PromptTemplates(
        title=("Erzähl mir die Geschichte „{title}“.", "Schreib eine Geschichte mit dem Titel „{title}“."),
        chapter=("Schreib „{title}“.", "Erzähl mir, was in „{title}“ geschieht."),
        who=("Erzähl mir eine Geschichte über {who}.", "Schreib eine Geschichte, in der {who} vorkommt."),
        who_where=("Erzähl mir eine Geschichte über {who}. Sie soll in {where} spielen.",),
        where=("Erzähl mir eine Geschichte, die in {where} spielt.", "Was ist in {where} geschehen?"),
        topic=(),
        opening=("So beginnt eine Geschichte. Erzähl sie weiter.\n\n{text}", "Führe fort:\n\n{text}"),
        continuation=("Wie geht „{title}“ weiter?\n\n{text}", "Setze „{title}“ hier fort:\n\n{text}"),
        conjunction=" und ",
    ),
    "fr": PromptTemplates(
        title=("Raconte-moi l'histoire « {title} ».", "Écris une histoire intitulée « {title} »."),
        chapter=("Écris « {title} ».", "Raconte-moi ce qui se passe dans « {title} »."),
        who=("Raconte-moi une histoire sur {who}.", "Écris une histoire avec {who}."),
        who_where=("Raconte-moi une histoire sur {who}, qui se passe à {where}.",),
        where=("Raconte-moi une histoire qui se passe à {where}.", "Que s'est-il passé à {where} ?"),
        topic=(),
        opening=("Voici le début d'une histoire. Raconte la suite.\n\n{text}", "Continue :\n\n{text}"),
        continuation=(
            "Que se passe-t-il ensuite dans « {title} » ?\n\n{text}",
            "Continue « {title} » :\n\n{text}",
        ),
        conjunction=" et ",
    ),
    "es": PromptTemplates(
        title=("Cuéntame la historia «{title}».", "Escribe una historia titulada «{title}»."),
        chapter=("Escribe «{title}».", "Cuéntame qué pasa en «{title}»."),
        who=("Cuéntame una historia sobre {who}.", "Escribe una historia con {who}."),
        who_where=("Cuéntame una historia sobre {who} que transcurra en {where}.",),
        where=("Cuéntame una historia que transcurra en {where}.", "¿Qué pasó en {where}?"),
        topic=(),
        opening=(
            "Así empieza una historia. Cuéntame el resto.\n\n{text}",
            "Continúa esta historia:\n\n{text}",
        ),
        continuation=("¿Qué pasa después en «{title}»?\n\n{text}", "Continúa «{title}»:\n\n{text}"),
        conjunction=" y ",
    ),
    "it": PromptTemplates(
        title=("Raccontami la storia «{title}».", "Scrivi una storia intitolata «{title}»."),
        chapter=("Scrivi «{title}».", "Raccontami che cosa succede in «{title}»."),
        who=("Raccontami una storia su {who}.", "Scrivi una storia con {who}."),
        who_where=("Raccontami una storia su {who}, ambientata a {where}.",),
        where=("Raccontami una storia ambientata a {where}.", "Che cosa è successo a {where}?"),
        topic=(),
        opening=("Così comincia una storia. Raccontami il resto.\n\n{text}", "Continua:\n\n{text}"),
        continuation=("Che cosa succede poi in «{title}»?\n\n{text}", "Continua «{title}»:\n\n{text}"),
        conjunction=" e ",
    ),
    "pt": PromptTemplates(
        title=("Conta-me a história «{title}».", "Escreve uma história chamada «{title}»."),
        chapter=("Escreve «{title}».", "Conta-me o que acontece em «{title}»."),
        who=("Conta-me uma história sobre {who}.", "Escreve uma história com {who}."),
        who_where=("Conta-me uma história sobre {who} que se passe em {where}.",),
        where=("Conta-me uma história que se passe em {where}.", "O que aconteceu em {where}?"),
        topic=(),
        opening=("Assim começa uma história. Conta-me o resto.\n\n{text}", "Continua:\n\n{text}"),
        continuation=("O que acontece depois em «{title}»?\n\n{text}", "Continua «{title}»:\n\n{text}"),
        conjunction=" e ",
    ),
    "nl": PromptTemplates(
        title=("Vertel me het verhaal “{title}”.", "Schrijf een verhaal met de titel “{title}”."),
        chapter=("Schrijf “{title}”.", "Vertel me wat er gebeurt in “{title}”."),
        who=("Vertel me een verhaal over {who}.", "Schrijf een verhaal met {who}."),
        who_where=("Vertel me een verhaal over {who} dat zich afspeelt in {where}.",),
        where=("Vertel me een verhaal dat zich afspeelt in {where}.", "Wat is er gebeurd in {where}?"),
        topic=(),
        opening=("Zo begint een verhaal. Vertel de rest.\n\n{text}", "Ga verder:\n\n{text}"),
        continuation=("Hoe gaat “{title}” verder?\n\n{text}", "Ga hier verder met “{title}”:\n\n{text}"),
        conjunction=" en ",
    ),
}


def templates_for(language: str) -> PromptTemplates:
    """Return the templates of a language, or the English ones if the language is not supported."""
    return _WORDINGS.get(language, _ENGLISH)
