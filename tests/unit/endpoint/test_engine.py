"""Which answers the engine writes at once, and which wait."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from transformers import AutoModelForCausalLM

from local.endpoint_server import engine
from local.endpoint_server.engine import Engine, GenerationTask, TokenPiece
from local.endpoint_server.loaded_models import LoadedModel, LoadedModels
from local.endpoint_server.sampling import Sampling
from tests.unit.tiny_model import save_tiny_model, tiny_tokenizer

LENGTH = 4_000


class Writing:
    """An engine over a tiny model that never ends by itself; in which order its answers began and ended."""

    def __init__(self, models: LoadedModels) -> None:
        self.engine = Engine(models)
        self.happened: list[str] = []
        self._ends = threading.Semaphore(0)

    def ask(self, name: str, tokens: int, at_first: Callable[[], None] = lambda: None) -> None:
        """Ask for an answer of so many tokens; `at_first` is called when its first one comes."""

        def deliver(piece: TokenPiece) -> None:
            if f"{name} begins" not in self.happened:
                self.happened.append(f"{name} begins")
                at_first()
            if piece.finish_reason:
                self.happened.append(f"{name} ends")
                self._ends.release()

        sampling = Sampling(0.0, 1.0, 1.0, tokens, (), None)
        self.engine.submit(GenerationTask("base", [5, 6, 7, 8], sampling, deliver))

    def wait_for(self, answers: int) -> list[str]:
        """What happened until so many answers had ended."""
        for _ in range(answers):
            assert self._ends.acquire(timeout=120)
        return self.happened


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> LoadedModels:
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny") / "base", context=LENGTH, spread=0.3)
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    return LoadedModels(
        by_name={"base": LoadedModel("base", network, "")},
        tokenizer=tiny_tokenizer(),
        end_tokens=frozenset(),
        max_length=LENGTH,
        default_temperature=0.0,
        default_top_p=1.0,
        repetition_penalty=1.0,
    )


@pytest.fixture
def writing(models: LoadedModels) -> Iterator[Writing]:
    one = Writing(models)
    yield one
    one.engine.stop()


def test_who_came_first_is_answered_first(writing: Writing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before one that comes while the engine looks for those it has room for."""
    monkeypatch.setattr(engine, "MAX_ROWS", 2)

    def three_more() -> None:
        writing.ask("second", 30, at_first=lambda: writing.ask("fourth", 30))
        writing.ask("third", 30)

    writing.ask("first", 60, at_first=three_more)
    begun = [event for event in writing.wait_for(4) if event.endswith("begins")]
    assert begun == ["first begins", "second begins", "third begins", "fourth begins"]


def test_no_more_is_written_at_once_than_the_memory_holds(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short answer waits behind the long one that has no room: otherwise that one might wait for ever."""
    monkeypatch.setattr(engine, "MAX_PLACES", 2 * 54)

    def two_more() -> None:
        writing.ask("long", 1_000)
        writing.ask("short", 20)

    writing.ask("first", 50, at_first=two_more)
    happened = writing.wait_for(3)
    assert happened == [
        "first begins",
        "first ends",
        "long begins",
        "long ends",
        "short begins",
        "short ends",
    ]


def test_answers_that_fit_are_written_beside_each_other(writing: Writing) -> None:
    writing.ask("first", 50, at_first=lambda: writing.ask("second", 10))
    assert writing.wait_for(2) == ["first begins", "second begins", "second ends", "first ends"]
