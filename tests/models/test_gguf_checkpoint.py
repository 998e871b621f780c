"""A GGUF becomes a plain decoder: weights as gguf itself dequantizes them, numbers read digit by digit."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agwm.errors import ModelError
from agwm.models.packaged.gguf_checkpoint import convert_llama

gguf = pytest.importorskip("gguf", reason="the extra 'smollm2' is not installed")

WIDTH, HEADS, TOKENS = (
    64,
    4,
    ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"ab12Ġ", "ĠĠ", "ab", "12", "Ġ1"],
)
LINEAR = {
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH // 2, WIDTH),
    "attn_v": (WIDTH // 2, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_gate": (96, WIDTH),
    "ffn_up": (96, WIDTH),
    "ffn_down": (WIDTH, 96),
}


def write(path, pre):
    """Write a Llama of one block as llama.cpp does; return name -> weights after rounding to four bits."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(32)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["a b", "Ġ Ġ", "1 2", "Ġ 1"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    draw, kind, rounded = torch.Generator().manual_seed(0), gguf.GGMLQuantizationType, {}
    quantized = {"token_embd": ((len(TOKENS), WIDTH), kind.Q8_0)}
    quantized |= {f"blk.0.{name}": (shape, kind.Q4_1) for name, shape in LINEAR.items()}
    for name, (shape, form) in quantized.items():
        data = gguf.quants.quantize(torch.randn(shape, generator=draw).numpy() * 0.1, form)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=form)
        rounded[name] = torch.from_numpy(gguf.quants.dequantize(data, form))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        rounded[name] = torch.rand(WIDTH, generator=draw)
        writer.add_tensor(f"{name}.weight", rounded[name].numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return rounded


def halves(weight, heads):
    """Order the rows of a head as transformers turns them, in halves; llama.cpp turns neighbours."""
    return weight.reshape(heads, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def test_weights_and_tokens(tmp_path):
    rounded, folder = write(tmp_path / "net.gguf", "smollm"), tmp_path / "plain"
    folder.mkdir()
    convert_llama([tmp_path / "net.gguf"], folder)
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    block = model.model.layers[0]
    pairs = {
        "token_embd": model.model.embed_tokens,
        "output_norm": model.model.norm,
        "blk.0.attn_norm": block.input_layernorm,
        "blk.0.ffn_norm": block.post_attention_layernorm,
        "blk.0.attn_q": block.self_attn.q_proj,
        "blk.0.attn_k": block.self_attn.k_proj,
        "blk.0.attn_v": block.self_attn.v_proj,
        "blk.0.attn_output": block.self_attn.o_proj,
        "blk.0.ffn_gate": block.mlp.gate_proj,
        "blk.0.ffn_up": block.mlp.up_proj,
        "blk.0.ffn_down": block.mlp.down_proj,
    }
    assert set(pairs) == set(rounded)
    rounded["blk.0.attn_q"] = halves(rounded["blk.0.attn_q"], HEADS)
    rounded["blk.0.attn_k"] = halves(rounded["blk.0.attn_k"], HEADS // 2)
    for name, module in pairs.items():
        assert module.weight.dtype == torch.float32 and torch.equal(module.weight, rounded[name]), name
    assert model.config.tie_word_embeddings and model.config.rope_parameters["rope_theta"] == 100000.0

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = {token: index for index, token in enumerate(TOKENS)}
    read = {
        "ab 12": ["ab", "Ġ", "1", "2"],
        "a  1": ["a", "ĠĠ", "1"],
        "12<|im_end|>b": ["1", "2", "<|im_end|>", "b"],
    }
    for text, tokens in read.items():
        assert tokenizer(text)["input_ids"] == [ids[token] for token in tokens], text
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert set(tokenizer("ab")) == {"input_ids", "attention_mask"}
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)


def test_another_tokenizer_is_refused(tmp_path):
    write(tmp_path / "net.gguf", "llama-bpe")
    with pytest.raises(ModelError, match="expected tokenizer.ggml.pre 'smollm', got 'llama-bpe'"):
        convert_llama([tmp_path / "net.gguf"], tmp_path)
