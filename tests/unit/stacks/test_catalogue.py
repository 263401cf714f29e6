"""The catalogue of base models, and the answers to choices that cannot work."""

import re

import pytest

from contracts import catalogue
from contracts.catalogue import CATALOGUE, UnsuitableModelError
from contracts.instances import GPU_OF_INSTANCE
from stacks.functions.function_groups import CHECKOUT


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_a_model_of_the_catalogue_is_complete(model: catalogue.CatalogueModel) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", model.revision), "a revision is a commit, which never changes"
    assert model.training_instance in GPU_OF_INSTANCE
    assert 0.2 < model.download_gb < 20
    assert model.context_length >= 1024
    assert model.licence
    assert model.slug == model.name, "its folder in the bucket has its name"
    assert catalogue.find(model.id.upper()) == model, "its id finds it too"


def test_the_page_of_settings_has_the_whole_catalogue() -> None:
    _, _, page = (CHECKOUT / "docs" / "settings.md").read_text().partition("## The catalogue")
    rows = [
        f"| `{model.name}` | {model.id} | {model.licence} | {model.parameters_millions:,} M "
        f"| {model.context_length:,} | {'chat' if model.chat else 'plain'}{', gated' if model.gated else ''} "
        f"| {model.download_gb} GB | `{model.training_instance}` |"
        for model in CATALOGUE.values()
    ]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


@pytest.mark.parametrize(
    ("choice", "reason", "instead"),
    [
        ("bert-base-uncased", "encoder", "gpt2"),
        ("BERT", "encoder", "smollm2-135m"),
        ("google-bert/bert-large-cased", "encoder", "smollm2-360m"),
        ("FacebookAI/roberta-base", "encoder", "gpt2"),
        ("distilbert/distilbert-base-uncased", "encoder", "gpt2"),
        ("answerdotai/ModernBERT-base", "encoder", "gpt2"),
        ("microsoft/deberta-v3-base", "encoder", "gpt2"),
        ("google/flan-t5-large", "encoder-decoder", "qwen3-1.7b"),
        ("facebook/bart-large", "encoder-decoder", "smollm2-1.7b"),
        ("gpt-3", "closed", "gpt2-xl"),
        ("gpt3", "closed", "gpt2-xl"),
        ("GPT-3.5-turbo", "closed", "qwen3-4b"),
        ("gpt-4o", "closed", "qwen3-4b"),
        ("ChatGPT", "closed", "llama-3.1-8b"),
        ("claude-3-haiku", "closed", "smollm2-1.7b"),
        ("gemini-pro", "closed", "smollm2-1.7b"),
        ("TheBloke/Llama-2-7B-GGUF", "quantized", "made from"),
        ("Qwen/Qwen3-4B-AWQ", "quantized", "made from"),
    ],
)
def test_an_unsuitable_model_is_explained(choice: str, reason: str, instead: str) -> None:
    with pytest.raises(UnsuitableModelError) as caught:
        catalogue.find(choice)
    assert reason in caught.value.reason
    assert instead in caught.value.cure


@pytest.mark.parametrize(
    ("choice", "millions", "chat"),
    [
        ("EleutherAI/pythia-410m", 410, False),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7000, True),
        ("google/gemma-2-2b-it", 2000, True),
        ("EleutherAI/gpt-j-6b", 6000, False),
        ("EleutherAI/gpt-neo-1.3B", 1300, False),
        ("openai/gpt-oss-20b", 20000, False),
        ("someone/storyteller", 0, False),
    ],
)
def test_any_causal_model_is_taken_by_its_id(choice: str, millions: int, chat: bool) -> None:
    model = catalogue.find(choice)
    assert (model.id, model.revision) == (choice, "main")
    assert (model.parameters_millions, model.chat) == (millions, chat)


def test_a_revision_of_ones_own_replaces_the_pinned_one() -> None:
    assert catalogue.find("gpt2", "v1").revision == "v1"
    assert catalogue.find("gpt2").revision == CATALOGUE["gpt2"].revision
