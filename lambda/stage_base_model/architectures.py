"""How vLLM can host a base model, by the architecture that its `config.json` names.

The names are those of vLLM 0.30.0, the hosting container's, as far as transformers 5.3.0, the training
container's, can train them too (`tests/vllm` and `tests/container` compare them with both). An architecture
in neither list is refused before anything is paid for.
"""

import json

from shared.models.staged import HostingWay

# Dense models for which vLLM supports adapters on every linear layer. vLLM supports adapters for others too,
# such as mixtures of experts, but does not document for which layers; those are merged, which always works.
ADAPTERS = frozenset({
    "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "GemmaForCausalLM",
    "GraniteForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "Phi3ForCausalLM", "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
})  # fmt: skip
MERGED = frozenset({
    "AfmoeForCausalLM", "ApertusForCausalLM", "ArceeForCausalLM", "BloomForCausalLM", "Cohere2ForCausalLM",
    "CohereForCausalLM", "CwmForCausalLM", "DbrxForCausalLM", "DeepseekV2ForCausalLM",
    "DeepseekV3ForCausalLM", "Ernie4_5ForCausalLM", "Ernie4_5_MoeForCausalLM", "Exaone4ForCausalLM",
    "ExaoneMoeForCausalLM", "FalconForCausalLM", "FalconH1ForCausalLM", "FalconMambaForCausalLM",
    "FlexOlmoForCausalLM", "GPT2LMHeadModel", "GPTBigCodeForCausalLM", "GPTJForCausalLM",
    "GPTNeoXForCausalLM", "Gemma3nForCausalLM", "Glm4ForCausalLM", "Glm4MoeForCausalLM",
    "Glm4MoeLiteForCausalLM", "GlmForCausalLM", "GlmMoeDsaForCausalLM", "GptOssForCausalLM",
    "GraniteMoeForCausalLM", "GraniteMoeHybridForCausalLM", "GraniteMoeSharedForCausalLM",
    "HunYuanDenseV1ForCausalLM", "HunYuanMoEV1ForCausalLM", "Jais2ForCausalLM", "JambaForCausalLM",
    "Lfm2ForCausalLM", "Lfm2MoeForCausalLM", "Llama4ForCausalLM", "LongcatFlashForCausalLM",
    "Mamba2ForCausalLM", "MambaForCausalLM", "MiniMaxM2ForCausalLM", "Ministral3ForCausalLM",
    "MixtralForCausalLM", "NemotronForCausalLM", "NemotronHForCausalLM", "OPTForCausalLM",
    "Olmo2ForCausalLM", "Olmo3ForCausalLM", "OlmoForCausalLM", "OlmoHybridForCausalLM", "OlmoeForCausalLM",
    "PhiForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM",
    "Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM", "SeedOssForCausalLM", "SmolLM3ForCausalLM",
    "StableLmForCausalLM", "Starcoder2ForCausalLM", "VaultGemmaForCausalLM", "Zamba2ForCausalLM",
})  # fmt: skip


class UnservedModelError(Exception):
    """A base model that could be trained and then not be hosted; the message says what to choose instead."""


def hosting_way(model_id: str, config_json: bytes) -> tuple[str, HostingWay]:
    """Return a model's architecture, and how its versions are hosted.

    Args:
        model_id: `owner/name`, for the message.
        config_json: the model's own file.

    Raises:
        UnservedModelError: a container does not support the architecture, or the file names none.
    """
    named = _named(config_json)
    for architecture in named:
        if architecture in ADAPTERS:
            return architecture, "adapters"
        if architecture in MERGED:
            return architecture, "merged"
    raise UnservedModelError(
        f"{model_id} is a model of the kind {', '.join(named) or '(its config.json names none)'}. The "
        "training container (transformers 5.3.0) or the hosting container (vLLM 0.30.0) does not support it. "
        "Nothing was spent. Choose another base_model in cdk.json, such as smollm2-1.7b or qwen3-1.7b, and "
        "deploy."
    )


def _named(config_json: bytes) -> list[str]:
    try:
        config = json.loads(config_json)
    except ValueError:
        return []
    named = config.get("architectures") if isinstance(config, dict) else None
    return [str(name) for name in named] if isinstance(named, list) else []
