"""The data of ``architectures``: each model's own settings, and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One architecture: settings beyond ``SMALL_SIZES``, its batch, and what does not work."""

    config: dict[str, Any] = field(default_factory=dict)
    batch: str = "text"
    checkpointing: bool = True
    float64: bool = True
    seeded: bool = True
    note: str = ""


SLIDING_THEN_FULL = ["sliding_attention", "full_attention"]
LINEAR_THEN_FULL = ["linear_attention", "full_attention"]
TWO_SHARED = ["hybrid", "linear_attention", "hybrid"]  # the outer two share their transformer
VISION = {"model_type": "siglip_vision_model", "image_size": 8, "patch_size": 4}

# Architectures for which ``SMALL_SIZES`` says everything.
PLAIN = """
    arcee bart bert biogpt bloom camembert convbert data2vec-text deepseek_v2 diffllama
    distilbert ernie esmc eurobert falcon fnet gemma glm glm4 gpt-sw3 gpt2 gpt_bigcode
    gpt_neox gpt_oss gte helium hunyuan_v1_dense jina_embeddings_v3 llama mbart megatron-bert
    minicpm3 minimax ministral ministral3 mistral mistral4 mixtral mpt mt5 nemotron nomic_bert
    olmo olmo2 opt persimmon phi phi3 phimoe plbart qwen2 qwen2_moe qwen3 roberta
    roberta-prelayernorm roformer seed_oss stablelm starcoder2 umt5 xlm-roberta xlm-roberta-xl yoso
""".split()

# A part of a configuration that names its ``model_type`` is made small in the same way.
ROWS: dict[str, Row] = {name: Row() for name in PLAIN} | {
    "albert": Row({"embedding_size": 8}, checkpointing=False),
    "axk1": Row({"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}),
    "axk2": Row({"index_topk": 4, "index_head_dim": 8, "index_n_heads": 2, "gated_norm_rank": 4}),
    "big_bird": Row({"attention_type": "original_full"}),
    "bigbird_pegasus": Row({"attention_type": "original_full"}),
    "canine": Row(
        {"local_transformer_stride": 4, "num_hash_buckets": 32},
        float64=False,
        note="in float64 a padded row gives not-a-number",
    ),
    "cohere_compass_text": Row(
        {
            "rope_parameters": {
                "full_attention": {
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "mrope_section": [2, 1, 1],
                }
            }
        }
    ),
    "ctrl": Row(checkpointing=False),
    "deberta": Row(
        {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16}
    ),
    "deberta-v2": Row(
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "max_relative_positions": 16,
            "position_buckets": 8,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        }
    ),
    "deepseek_v3": Row({"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}),
    "doge": Row({"is_moe": True, "keep_window_size": 4}),
    "electra": Row({"embedding_size": 8}),
    "esm": Row({"position_embedding_type": "rotary"}),
    "exaone4": Row({"layer_types": SLIDING_THEN_FULL}),
    "flaubert": Row(checkpointing=False),
    "funnel": Row({"block_sizes": [1, 1], "block_repeats": [1, 1]}, checkpointing=False),
    "gemma2": Row(float64=False, note="in float64 a padded row gives not-a-number"),
    "gemma3": Row(
        {
            "text_config": {"model_type": "gemma3_text", "layer_types": SLIDING_THEN_FULL},
            "vision_config": VISION,
            "mm_tokens_per_image": 4,
        }
    ),
    "gemma3_text": Row({"layer_types": SLIDING_THEN_FULL}),
    "gpt_neo": Row({"attention_types": [[["global", "local"], 1]], "window_size": 4}),
    "gptj": Row({"rotary_dim": 4}),
    "hunyuan_v1_moe": Row({"moe_topk": 2}),
    "ibert": Row(checkpointing=False),
    "jamba": Row(
        {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
        }
    ),
    "jetmoe": Row(checkpointing=False),
    "layoutlm": Row(batch="layout"),
    "layoutlmv3": Row(
        {"visual_embed": False, "coordinate_size": 2, "shape_size": 4},
        batch="layout",
        checkpointing=False,
    ),
    "lilt": Row({"hidden_size": 24, "channel_shrink_ratio": 2}, batch="layout"),
    "longformer": Row({"attention_window": 4}),
    "luke": Row({"entity_vocab_size": 8, "entity_emb_size": 8}),
    "markuplm": Row(
        {
            "max_xpath_tag_unit_embeddings": 8,
            "max_xpath_subs_unit_embeddings": 8,
            "tag_pad_id": 7,
            "subs_pad_id": 7,
            "xpath_unit_hidden_size": 4,
            "max_depth": 4,
        },
        checkpointing=False,
    ),
    "mobilebert": Row({"intra_bottleneck_size": 8, "num_feedforward_networks": 2}),
    "modernbert": Row({"local_attention": 4}),
    "modernbert-decoder": Row({"local_attention": 4}),
    "modernvbert": Row(
        {
            "text_config": {"model_type": "modernbert", "local_attention": 4},
            "vision_config": VISION,
            "image_token_id": 95,
        }
    ),
    "mpnet": Row(checkpointing=False),
    "mvp": Row({"use_prompt": True, "prompt_length": 4, "prompt_mid_dim": 8}),
    "nystromformer": Row({"num_landmarks": 12, "segment_means_seq_len": 12, "conv_kernel_size": 5}),
    "olmo3": Row({"layer_types": SLIDING_THEN_FULL}),
    "openai-gpt": Row(checkpointing=False),
    "perceiver": Row(
        {
            "num_latents": 4,
            "d_latents": 16,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 2,
            "num_cross_attention_heads": 2,
        },
        checkpointing=False,
        note="the freshly initialised head is part of base_model, as its decoder",
    ),
    "qwen3_5": Row(
        {
            "text_config": {"model_type": "qwen3_5_text", "layer_types": LINEAR_THEN_FULL},
            "vision_config": {
                "model_type": "qwen3_5_vision",
                "depth": 1,
                "out_hidden_size": 16,
                "patch_size": 4,
                "num_position_embeddings": 16,
            },
        }
    ),
    "qwen3_5_text": Row({"layer_types": LINEAR_THEN_FULL}),
    "qwen3_moe": Row({"experts_implementation": "grouped_mm"}, float64=False),
    "qwen3_next": Row({"layer_types": LINEAR_THEN_FULL}),
    "reformer": Row(
        {
            "attn_layers": ["local", "lsh"],
            "attention_head_size": 8,
            "axial_pos_shape": [3, 4],
            "axial_pos_embds_dim": [8, 8],
            "feed_forward_size": 32,
            "local_attn_chunk_length": 4,
            "lsh_attn_chunk_length": 4,
            "num_buckets": 2,
            "hash_seed": 0,
        },
        checkpointing=False,
        seeded=False,
        note="reversible layers recompute in backward, in training mode only",
    ),
    "rembert": Row({"input_embedding_size": 8, "output_embedding_size": 16}),
    "roc_bert": Row(
        {
            "pronunciation_embed_dim": 8,
            "pronunciation_vocab_size": 16,
            "shape_embed_dim": 8,
            "shape_vocab_size": 16,
        }
    ),
    "smollm3": Row({"no_rope_layers": [1, 0]}),
    "squeezebert": Row(
        {"q_groups": 2, "k_groups": 2, "v_groups": 2, "intermediate_groups": 2, "output_groups": 2},
        checkpointing=False,
    ),
    "t5": Row({"decoder_start_token_id": 0}),
    "t5gemma": Row(
        {
            "encoder": {"model_type": "t5_gemma_module"},
            "decoder": {"model_type": "t5_gemma_module", "cross_attention_hidden_size": 16},
        },
        float64=False,
        note="in float64 a padded row gives not-a-number",
    ),
    "t5gemma2": Row(
        {
            "encoder": {
                "model_type": "t5gemma2_encoder",
                "text_config": {"model_type": "t5gemma2_text", "layer_types": SLIDING_THEN_FULL},
                "vision_config": VISION,
            },
            "decoder": {"model_type": "t5gemma2_decoder", "layer_types": SLIDING_THEN_FULL},
        }
    ),
    "tapas": Row(batch="table"),
    "ultrabert": Row({"layer_types": SLIDING_THEN_FULL, "prediction_head_size": 16}),
    "ultravbert": Row(
        {
            "text_config": {
                "model_type": "ultrabert",
                "layer_types": SLIDING_THEN_FULL,
                "prediction_head_size": 16,
            },
            "vision_config": VISION,
            "image_token_id": 95,
        }
    ),
    "xlm": Row(checkpointing=False),
    "xlnet": Row(checkpointing=False),
    "xmod": Row({"default_language": "en_XX"}),
    "zamba": Row(
        {
            "num_hidden_layers": 3,
            "layers_block_type": TWO_SHARED,
            "n_mamba_heads": 2,
            "attention_hidden_size": 32,
            "attention_head_dim": 16,
        }
    ),
    "zamba2": Row(
        {
            "num_hidden_layers": 3,
            "layers_block_type": TWO_SHARED,
            "n_mamba_heads": 2,
            "mamba_headdim": 16,
            "chunk_size": 4,
            "adapter_rank": 4,
            "use_shared_attention_adapter": True,
        }
    ),
}

# Entries of the mapping that are left out, and why.
UNSUPPORTED: dict[str, str] = {
    "layoutlmv2": "its visual backbone needs detectron2",
    "mra": "its attention is a CUDA kernel; without it the attention output is zero",
}
