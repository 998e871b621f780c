"""Small values for the sizes that configurations of every architecture declare."""

from __future__ import annotations

from typing import Any

# Every name that configurations give to a size, with a small value. A configuration takes those
# names that it declares; a row of the table adds what is its own.
SMALL_SIZES: dict[str, Any] = {
    # tokens; one set for all, so that one batch serves all
    "vocab_size": 96,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 2,
    "cls_token_id": 0,
    "mask_token_id": 3,
    "decoder_start_token_id": 2,
    "type_vocab_size": 2,
    # width
    "hidden_size": 16,
    "d_model": 16,
    "n_embd": 16,
    "dim": 16,
    "emb_dim": 16,
    "embedding_size": 16,
    "word_embed_proj_dim": 16,
    "intermediate_size": 32,
    "hidden_dim": 32,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "ffn_dim": 32,
    "ffn_hidden_size": 32,
    "d_ff": 32,
    "dff": 32,
    "d_inner": 32,
    # depth
    "num_hidden_layers": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    # heads
    "num_attention_heads": 2,
    "num_heads": 2,
    "n_head": 2,
    "n_heads": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_head": 8,
    "d_kv": 8,
    "kv_channels": 8,
    # low-rank attention
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    # experts
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    # linear attention and state space layers
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "mamba_d_state": 4,
    "mamba_dt_rank": 4,
    # positions
    "max_position_embeddings": 64,
    "n_positions": 64,
    "max_seq_len": 64,
    "max_2d_position_embeddings": 64,
    "sliding_window": 4,
    # weights ten times the usual size: no quantity a test looks at is vanishingly small
    "initializer_range": 0.2,
    "init_std": 0.2,
}
