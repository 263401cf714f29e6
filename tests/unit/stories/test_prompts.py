"""Prompts name the people, the place and the topic of a story, and nothing that is not in it."""

from pathlib import Path

import pytest

from stories.dataset.examples import build_examples
from stories.dataset.names import Names, find_names
from tests.unit.stories.material import only_record, prose, read

SAMPLES = sorted((Path(__file__).resolve().parents[3] / "sample_stories").glob("*.*"))

FERRY = (
    "The ferry at the slip was late, and Dorcas said so. In the rain, Dorcas went down to see. Nobody in "
    "Great Tarry had seen it go, but Dorcas had. On Monday the ferry lay in Great Tarry again, and the man "
    "who keeps it, Ned Oakes, told Dorcas that he had slept. And so Ned Oakes was forgiven, and Ned Oakes "
    "went home. “I know,” said Dorcas, and in Great Tarry nobody asked again. "
)
NAMED = {
    "en": (FERRY, Names(("Dorcas", "Ned Oakes"), ("Great Tarry",))),
    "de": (
        "Am Abend kam das Boot, und Anna sagte nichts. Der Hund schlief, aber Anna fragte nach dem Boot. Das "
        "Boot war leer, der Hund sah das Boot. „Nun“, sagte Anna, und das Boot fuhr nach Hause.",
        Names(("Anna",), ()),
    ),
    "fr": (
        "Ce soir, Camille était seule. Le bateau de nuit passait dans Rouen, et Camille dit non. Puis, dans "
        "Rouen, la pluie vint, mais Camille avait un toit.",
        Names(("Camille",), ("Rouen",)),
    ),
    "es": (
        "Aquella noche, Inés estaba sola. El barco llegó y entonces Inés dijo que no, porque Inés sabía que "
        "en Cádiz llovía y que en Cádiz nadie salía.",
        Names(("Inés",), ("Cádiz",)),
    ),
    "it": (
        "Quella sera, Lucia era sola. La barca arrivò e allora Lucia disse di no, perché Lucia sapeva che in "
        "Siena pioveva e che in Siena nessuno usciva.",
        Names(("Lucia",), ("Siena",)),
    ),
    "pt": (
        "Naquela noite, Rosa estava só. O barco chegou e então Rosa disse que não, porque Rosa sabia que em "
        "Braga chovia e que em Braga ninguém saía.",
        Names(("Rosa",), ("Braga",)),
    ),
    "nl": (
        "Die avond, Lotte was alleen. De boot kwam en toen zei Lotte niets, want Lotte wist dat het in Delft "
        "regende en dat in Delft niemand uitging, en Lotte had gelijk.",
        Names(("Lotte",), ("Delft",)),
    ),
    "fi": (FERRY, Names()),
}


@pytest.mark.parametrize("language", NAMED)
def test_people_and_places_are_found(language: str) -> None:
    text, expected = NAMED[language]
    assert find_names(text, language) == expected


def _requests(title: str, text: str, language: str = "en", count: int = 200) -> set[str]:
    record = only_record(read("tales/one.md", f"# {title}\n\n{text}".encode())).model_copy(
        update={"language": language}
    )
    asked = set()
    for number in range(count):
        again = record.model_copy(update={"id": f"{number:016x}"})
        asked.add(
            next(build_examples(again, 0, None, chat=True, sequence_length=512))["messages"][0]["content"]
        )
    return asked


def test_prompts_name_people_place_and_topic() -> None:
    asked = _requests("The Ferry That Slept", f"{FERRY}\n\n{FERRY}")
    assert "Tell me a story about Dorcas." in asked
    assert "Tell me a story about Dorcas and Ned Oakes. It should take place in Great Tarry." in asked
    assert "Tell me a story that takes place in Great Tarry." in asked
    assert "Tell me a story about the ferry that slept." in asked
    assert any(request.startswith("Continue this story:\n\nThe ferry at the slip") for request in asked)
    assert len(asked) > 20


def test_a_name_keeps_its_capital_in_a_topic() -> None:
    asked = _requests("The Patience of Ned Oakes", f"{FERRY}\n\n{FERRY}")
    assert "Tell me a story about the patience of Ned Oakes." in asked


@pytest.mark.parametrize(
    ("language", "title", "who"),
    [
        ("de", "Erzähl mir die Geschichte „Nachts“.", "Erzähl mir eine Geschichte über Anna."),
        ("fr", "Raconte-moi l'histoire « Nachts ».", "Raconte-moi une histoire sur Camille."),
        ("es", "Cuéntame la historia «Nachts».", "Cuéntame una historia sobre Inés."),
        ("it", "Raccontami la storia «Nachts».", "Raccontami una storia su Lucia."),
        ("pt", "Conta-me a história «Nachts».", "Conta-me uma história sobre Rosa."),
        ("nl", "Vertel me het verhaal “Nachts”.", "Vertel me een verhaal over Lotte."),
    ],
)
def test_prompts_are_in_the_language_of_the_story(language: str, title: str, who: str) -> None:
    assert {title, who} <= _requests("Nachts", NAMED[language][0], language)


def test_other_languages_get_english_prompts_by_title() -> None:
    asked = _requests("The Ferry", FERRY.replace("\n", " "), "fi")
    assert asked
    assert all("The Ferry" in request for request in asked)


def test_a_story_always_gets_the_same_prompts() -> None:
    record = only_record(read("one.txt", prose(3).encode()))
    first, second = (list(build_examples(record, 0, None, chat=True, sequence_length=512)) for _ in range(2))
    assert first == second


def test_prompts_of_the_sample_stories_are_like_those_of_people() -> None:
    firsts = []
    for path in SAMPLES:
        record = only_record(read(path.name, path.read_bytes()))
        request = next(build_examples(record, 0, None, chat=True, sequence_length=512))["messages"][0][
            "content"
        ]
        firsts.append(request)
    about = [request for request in firsts if "about" in request and "“" not in request]
    assert len(about) >= len(firsts) / 4
    assert any(request.startswith("Tell me a story about") for request in about)
