"""The base models a person can choose by name, and what can be inferred about others.

A revision is the commit of the model's Hugging Face repository, so that the same settings always fetch the
same weights. A model chosen by its id has no pinned commit here: its revision is `main` until
`base_model_revision` is set, and the function that stages it records the commit that `main` was.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from contracts.instances import smallest_that_fits


class UnsuitableModelError(ValueError):
    """A choice of base model that cannot work; `cure` says what to choose instead."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cure = cure


@dataclass(frozen=True)
class CatalogueModel:
    """One open model that can be fine-tuned on stories."""

    name: str
    """What a person writes as `base_model`; the Hugging Face id if the model is not in the catalogue."""
    id: str
    """Hugging Face id, `owner/name`."""
    revision: str
    """Commit of that repository."""
    licence: str
    parameters_millions: int
    """0 if it is not known."""
    context_length: int
    """Tokens."""
    chat: bool
    """True: trained on conversations and has a chat template; False: continues plain text."""
    gated: bool = False
    """True: a licence must be accepted before it can be downloaded."""

    @property
    def slug(self) -> str:
        """Name of its folder below `base-models/`."""
        return re.sub(r"[^a-z0-9.-]+", "--", self.name.lower())

    @property
    def download_gb(self) -> float:
        """Size of the weights, in GB: two bytes a parameter, four for GPT-2, which is stored in fp32."""
        bytes_each = 4 if self.id.startswith("openai-community/") else 2
        return round(self.parameters_millions * bytes_each / 1000, 1)

    @property
    def training_instance(self) -> str | None:
        """Cheapest instance it can be trained on; None if no single GPU holds it."""
        return smallest_that_fits(self.parameters_millions, "training")


_APACHE, _MIT = "Apache-2.0", "MIT"

CATALOGUE: dict[str, CatalogueModel] = {
    model.name: model
    for model in (
        CatalogueModel(
            name="smollm2-135m",
            id="HuggingFaceTB/SmolLM2-135M-Instruct",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            licence=_APACHE,
            parameters_millions=135,
            context_length=8192,
            chat=True,
        ),
        CatalogueModel(
            name="smollm2-360m",
            id="HuggingFaceTB/SmolLM2-360M-Instruct",
            revision="a10cc1512eabd3dde888204e902eca88bddb4951",
            licence=_APACHE,
            parameters_millions=362,
            context_length=8192,
            chat=True,
        ),
        CatalogueModel(
            name="smollm2-1.7b",
            id="HuggingFaceTB/SmolLM2-1.7B-Instruct",
            revision="31b70e2e869a7173562077fd711b654946d38674",
            licence=_APACHE,
            parameters_millions=1711,
            context_length=8192,
            chat=True,
        ),
        CatalogueModel(
            name="qwen3-0.6b",
            id="Qwen/Qwen3-0.6B",
            revision="c1899de289a04d12100db370d81485cdf75e47ca",
            licence=_APACHE,
            parameters_millions=596,
            context_length=32768,
            chat=True,
        ),
        CatalogueModel(
            name="qwen3-1.7b",
            id="Qwen/Qwen3-1.7B",
            revision="70d244cc86ccca08cf5af4e1e306ecf908b1ad5e",
            licence=_APACHE,
            parameters_millions=1721,
            context_length=32768,
            chat=True,
        ),
        CatalogueModel(
            name="qwen3-4b",
            id="Qwen/Qwen3-4B",
            revision="1cfa9a7208912126459214e8b04321603b3df60c",
            licence=_APACHE,
            parameters_millions=4022,
            context_length=32768,
            chat=True,
        ),
        CatalogueModel(
            name="llama-3.2-1b",
            id="meta-llama/Llama-3.2-1B-Instruct",
            revision="9213176726f574b556790deb65791e0c5aa438b6",
            licence="Llama 3.2 Community",
            parameters_millions=1236,
            context_length=131072,
            chat=True,
            gated=True,
        ),
        CatalogueModel(
            name="llama-3.2-3b",
            id="meta-llama/Llama-3.2-3B-Instruct",
            revision="0cb88a4f764b7a12671c53f0838cd831a0843b95",
            licence="Llama 3.2 Community",
            parameters_millions=3213,
            context_length=131072,
            chat=True,
            gated=True,
        ),
        CatalogueModel(
            name="llama-3.1-8b",
            id="meta-llama/Llama-3.1-8B-Instruct",
            revision="0e9e39f249a16976918f6564b8830bc894c89659",
            licence="Llama 3.1 Community",
            parameters_millions=8030,
            context_length=131072,
            chat=True,
            gated=True,
        ),
        CatalogueModel(
            name="gemma-3-1b",
            id="google/gemma-3-1b-it",
            revision="dcc83ea841ab6100d6b47a070329e1ba4cf78752",
            licence="Gemma",
            parameters_millions=1000,
            context_length=32768,
            chat=True,
            gated=True,
        ),
        CatalogueModel(
            name="gemma-3-4b",
            id="google/gemma-3-4b-it",
            revision="093f9f388b31de276ce2de164bdc2081324b9767",
            licence="Gemma",
            parameters_millions=4300,
            context_length=131072,
            chat=True,
            gated=True,
        ),
        CatalogueModel(
            name="gpt2",
            id="openai-community/gpt2",
            revision="607a30d783dfa663caf39e06633721c8d4cfcd7e",
            licence=_MIT,
            parameters_millions=124,
            context_length=1024,
            chat=False,
        ),
        CatalogueModel(
            name="gpt2-medium",
            id="openai-community/gpt2-medium",
            revision="6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
            licence=_MIT,
            parameters_millions=355,
            context_length=1024,
            chat=False,
        ),
        CatalogueModel(
            name="gpt2-large",
            id="openai-community/gpt2-large",
            revision="32b71b12589c2f8d625668d2335a01cac3249519",
            licence=_MIT,
            parameters_millions=774,
            context_length=1024,
            chat=False,
        ),
        CatalogueModel(
            name="gpt2-xl",
            id="openai-community/gpt2-xl",
            revision="15ea56dee5df4983c59b2538573817e1667135e2",
            licence=_MIT,
            parameters_millions=1558,
            context_length=1024,
            chat=False,
        ),
    )
}

_HUGGING_FACE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
_ENCODERS = re.compile(
    r"(?<![a-z])(distil|al|ro|de|camem|modern|m|sci|bio|fin)?bert|electra|xlnet|(?<![a-z])xlm-", re.I
)
_SEQUENCE_TO_SEQUENCE = re.compile(
    r"(^|[^a-z])(flan-?|m|by)?t5([^a-z]|$)|(^|[^a-z])(m?bart|pegasus)([^a-z]|$)", re.I
)
_CLOSED = re.compile(
    r"^(chat-?gpt|gpt-?[345](?!\d)(?!-j)|text-davinci|davinci|o[134](-|$)|claude|gemini|grok(?!-1$)|command-r-api)",
    re.I,
)
_QUANTIZED = re.compile(r"[-_](gguf|gptq|awq|exl2|int4|int8|4bit|8bit|mlx|onnx)([-_]|$)", re.I)
_CHAT = re.compile(r"(^|[-_.])(instruct|chat|it|sft|dpo|assistant)([-_.]|$)", re.I)
_SIZE = re.compile(r"(?:^|[-_])(\d+(?:\.\d+)?)([mb])(?:[-_.]|$)", re.I)
_UNKNOWN_CONTEXT_LENGTH = 2048


def find(choice: str, revision: str = "") -> CatalogueModel:
    """Find the model that a person chose.

    Args:
        choice: catalogue name, or any Hugging Face id of a causal language model.
        revision: commit, branch or tag; empty takes the catalogue's commit, or `main`.

    Raises:
        UnsuitableModelError: it does not exist, or cannot be trained on stories.
    """
    model = CATALOGUE.get(choice.lower()) or _by_id(choice)
    return _with_revision(model, revision) if revision else model


def names() -> list[str]:
    """Return the names of the catalogue, in its order."""
    return list(CATALOGUE)


def _with_revision(model: CatalogueModel, revision: str) -> CatalogueModel:
    return CatalogueModel(**{**model.__dict__, "revision": revision})


def _by_id(choice: str) -> CatalogueModel:
    _refuse_unsuitable(choice)
    if not _HUGGING_FACE_ID.match(choice):
        raise UnsuitableModelError("no base model has this name", _closest(choice))
    known = next((model for model in CATALOGUE.values() if model.id.lower() == choice.lower()), None)
    if known is not None:
        return known
    repository = choice.split("/")[1]
    return CatalogueModel(
        name=choice,
        id=choice,
        revision="main",
        licence=f"see https://huggingface.co/{choice}",
        parameters_millions=_size_millions(repository),
        context_length=_UNKNOWN_CONTEXT_LENGTH,
        chat=bool(_CHAT.search(repository)),
    )


def _refuse_unsuitable(choice: str) -> None:
    repository = choice.rsplit("/", 1)[-1]
    if _CLOSED.match(repository):
        raise UnsuitableModelError(
            "its weights are closed: its owner sells answers and does not publish the model",
            "Choose an open model of the same kind: qwen3-4b or llama-3.1-8b (gated) for quality, "
            "smollm2-1.7b for price; gpt2-xl is the last GPT whose weights are open and small",
        )
    if _ENCODERS.search(repository):
        raise UnsuitableModelError(
            "it is an encoder: it reads text and fills gaps, and cannot write a story word by word",
            "Choose a causal language model of about its size: smollm2-135m or gpt2 in place of BERT-base, "
            "smollm2-360m or gpt2-medium in place of BERT-large",
        )
    if _SEQUENCE_TO_SEQUENCE.search(repository):
        raise UnsuitableModelError(
            "it is an encoder-decoder: it turns one text into another and cannot continue a story",
            "Choose a causal language model: smollm2-1.7b or qwen3-1.7b",
        )
    if _QUANTIZED.search(repository):
        raise UnsuitableModelError(
            "it is a quantized copy, which cannot be fine-tuned here",
            "Choose the repository that it was made from; its page on Hugging Face names it",
        )


def _closest(choice: str) -> str:
    matches = get_close_matches(choice.lower(), names(), n=3, cutoff=0.5)
    closest = (
        f"The closest are {', '.join(matches)}" if matches else f"The catalogue has {', '.join(names())}"
    )
    return f"{closest}; or give the id of any causal model on Hugging Face, as owner/name"


def _size_millions(repository: str) -> int:
    """Read the number of parameters from a name such as `Qwen3-4B`; 0 if the name has none."""
    found = _SIZE.search(repository)
    if not found:
        return 0
    return round(float(found[1]) * (1000 if found[2].lower() == "b" else 1))
