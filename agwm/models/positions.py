"""The number of tokens that a model has positions for, in every family."""

from __future__ import annotations

from transformers import PreTrainedModel

__all__ = ["max_tokens"]

# Tables of positions: BERT and its kin; GPT-2; BART, OPT, RoFormer, GPT-J; OpenAI-GPT; CANINE; CTRL.
_TABLES = (
    "position_embeddings",
    "wpe",
    "embed_positions",
    "positions_embed",
    "char_position_embeddings",
    "pos_encoding",
)


def max_tokens(model: PreTrainedModel) -> int | None:
    """Return the number of tokens that a model has positions for; None if it has no such limit.

    Models with relative or rotary positions (T5, XLNet, DeBERTa-v3, Llama) have none: they read longer
    texts than they were trained on.

    Args:
        model: The model. Special tokens count.

    Example:
        >>> from transformers import RobertaConfig, RobertaForSequenceClassification
        >>> config = RobertaConfig(
        ...     vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1,
        ...     intermediate_size=4, max_position_embeddings=66,
        ... )
        >>> max_tokens(RobertaForSequenceClassification(config))  # it counts from the padding's index on
        64
    """
    config = model.config.get_text_config()
    limits = []
    for name, module in model.base_model.named_modules():
        if name.rpartition(".")[2] in _TABLES:
            shape = getattr(config, "axial_pos_shape", None)  # Reformer's table is a product of two
            if getattr(module, "weight", None) is not None:
                limits.append(len(module.weight) - _offset(module))
            elif shape:
                limits.append(shape[0] * shape[1])
        for attribute in ("embed_positions", "pos_encoding"):  # GPT-J and CTRL keep tables as plain tensors
            table = vars(module).get(attribute, vars(module)["_buffers"].get(attribute))
            if table is not None:
                limits.append(len(table))
    if config.model_type == "mpt":  # its biases are made for so many
        limits.append(config.max_seq_len)
    stated = getattr(config, "max_position_embeddings", None)
    if limits and stated and stated > 0:  # Nystroemformer's table begins with two rows that it never reads
        limits.append(stated)
    return min(limits, default=None)


def _offset(module: object) -> int:
    """Return the number of rows before the first position: RoBERTa's padding, BART's two."""
    padding = getattr(module, "padding_idx", None)
    return getattr(module, "offset", 0) or (0 if padding is None else padding + 1)
