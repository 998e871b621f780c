"""Make a plain folder of a Llama from a GGUF, a file of llama.cpp with quantized weights.

transformers reads a GGUF too, but what it read cannot be saved again (from 5.20 on), and it does not know
this tokenizer. The package ``gguf``, of llama.cpp's own authors, gives the numbers and lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, PreTrainedTokenizerFast

from agwm.errors import ModelError

if TYPE_CHECKING:
    from gguf import GGUFReader

__all__ = ["convert_llama"]

_CONTROL = 3  # type of a special token
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_IN_CONFIG = ("bos", "eos", "pad")
# llama.cpp's name of a module -> that of transformers; in a block, the first stands after blk.N.
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_llama(paths: Sequence[Path], folder: Path) -> None:
    """Write the dequantized weights in float32, and the tokenizer, into a folder.

    Args:
        paths: The GGUF, alone: a Llama whose head is its embeddings, and whose tokenizer is byte-level BPE
            that splits numbers into digits (``smollm``).
        folder: An empty folder.

    Raises:
        ModelError: If it is of another architecture, or its tokenizer of another kind.
    """
    from gguf import GGUFReader

    reader = GGUFReader(paths[0])
    facts = {key: field.contents() for key, field in reader.fields.items()}
    for key, expected in (("general.architecture", "llama"), ("tokenizer.ggml.pre", "smollm")):
        if facts[key] != expected:
            raise ModelError(
                f"GGUF {paths[0].name} is of another kind: expected {key} {expected!r}, got {facts[key]!r}."
                " Pass another --model."
            )
    save_file(_tensors(reader, facts), folder / "model.safetensors", metadata={"format": "pt"})
    _config(facts).save_pretrained(folder)
    _tokenizer(facts).save_pretrained(folder)


def _config(facts: Mapping[str, Any]) -> LlamaConfig:
    special = {f"{role}_token_id": facts[f"tokenizer.ggml.{_ROLES[role]}_token_id"] for role in _IN_CONFIG}
    return LlamaConfig(
        vocab_size=len(facts["tokenizer.ggml.tokens"]),
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=facts["llama.attention.head_count"],
        num_key_value_heads=facts["llama.attention.head_count_kv"],
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
        **special,
    )


def _tensors(reader: GGUFReader, facts: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return name -> weights in float32, as transformers names and orders them."""
    from gguf import dequantize

    heads = {
        "attn_q": facts["llama.attention.head_count"],
        "attn_k": facts["llama.attention.head_count_kv"],
    }
    found = {}
    for stored in reader.tensors:
        *place, module, kind = stored.name.split(".")
        outer = f"model.layers.{place[1]}.{_INSIDE[module]}" if place else _OUTSIDE[module]
        weight = torch.from_numpy(dequantize(stored.data, stored.tensor_type).copy())
        if module in heads:
            weight = _in_halves(weight, heads[module])
        found[f"{outer}.{kind}"] = weight.contiguous()
    return found


def _in_halves(weight: Tensor, num_heads: int) -> Tensor:
    """Reorder the rows of each head: llama.cpp rotates neighbours, transformers halves."""
    rows = weight.unflatten(0, (num_heads, -1, 2))  # head, pair, which of the pair
    return rows.transpose(1, 2).reshape(weight.shape)


def _tokenizer(facts: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """Return the tokenizer: numbers are split into digits before the text is cut into words.

    Without that, a space before a number comes in other tokens than the model was trained on.
    """
    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, facts["tokenizer.ggml.token_type"], strict=True)
    special = [
        AddedToken(token, normalized=False, special=True) for token, kind in kinds if kind == _CONTROL
    ]
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=facts["llama.context_length"],
        model_input_names=["input_ids", "attention_mask"],  # a decoder has no types of tokens
        **{
            f"{role}_token": tokens[facts[f"tokenizer.ggml.{key}_token_id"]] for role, key in _ROLES.items()
        },
    )
