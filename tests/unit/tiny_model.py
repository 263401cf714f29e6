"""Models of a few thousand random parameters, with a tokenizer of single bytes: real, and quick."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "<|im_end|>"
SPECIAL = ["<|endoftext|>", "<|im_start|>", END]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 256 + len(SPECIAL)


def tiny_tokenizer(chat: bool = True, end: bool = True) -> Any:
    """A tokenizer of 256 bytes and three special tokens."""
    alphabet = {
        character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))
    }
    backend = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend, **({"eos_token": END} if end else {}))
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save_tiny_model(
    folder: Path,
    kind: Literal["llama", "gpt2"] = "llama",
    *,
    chat: bool = True,
    end: bool = True,
    context: int = 512,
    spread: float = 0.02,
) -> Path:
    """Write a tiny model and its tokenizer; `spread` is the standard deviation of its random weights."""
    torch.manual_seed(0)
    model: Any
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=context,
            initializer_range=spread,
            tie_word_embeddings=True,
            bos_token_id=VOCABULARY - 2,
            eos_token_id=VOCABULARY - 1,
        )
        model = LlamaForCausalLM(config)
    else:
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=VOCABULARY,
                n_embd=32,
                n_layer=2,
                n_head=2,
                n_positions=context,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                initializer_range=spread,
                bos_token_id=VOCABULARY - 1,
                eos_token_id=VOCABULARY - 1,
            )
        )
    model.save_pretrained(folder)
    tiny_tokenizer(chat, end).save_pretrained(folder)
    return folder


def chat_example(number: int, answer: str) -> dict[str, Any]:
    """One example of a chat, by a story of its own."""
    turns = [{"role": "user", "content": f"Tell me tale {number}."}, {"role": "assistant", "content": answer}]
    return {"story_id": f"{number:016x}", "title": f"Tale {number}", "messages": turns}


def write_examples(folder: Path, examples: list[dict[str, Any]]) -> Path:
    """Write examples.jsonl into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(example) + "\n" for example in examples)
    (folder / "examples.jsonl").write_text(lines, encoding="utf-8")
    return folder
