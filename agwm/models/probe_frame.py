"""The special tokens that a tokenizer puts around and between texts, by which a pair is split again."""

from __future__ import annotations

from itertools import groupby

from transformers import PreTrainedTokenizerBase

__all__ = ["frame_of"]


def frame_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]] | None:
    """Return the tokens around one text and around a pair.

    Args:
        tokenizer: The tokenizer; it is not changed.

    Returns:
        Token ids by ``"prefix"``, ``"middle"``, ``"suffix"``, ``"single_prefix"``, ``"single_suffix"``, and
        the types of the last two under ``"single_prefix_types"`` and ``"single_suffix_types"``. None if
        nothing stands between the texts of a pair (GPT-2): it cannot be told from one text.
    """
    single = tokenizer("good", return_special_tokens_mask=True, return_token_type_ids=True)
    pair = tokenizer("good", "bad", return_special_tokens_mask=True)
    alone, both = _specials(single["special_tokens_mask"]), _specials(pair["special_tokens_mask"])
    if len(alone) != 2 or len(both) != 3 or not both[1]:
        return None
    names = ("prefix", "middle", "suffix")
    frame = {
        name: [pair["input_ids"][place] for place in places]
        for name, places in zip(names, both, strict=True)
    }
    types = single.get("token_type_ids") or [0] * len(single["input_ids"])
    for name, places in zip(("single_prefix", "single_suffix"), alone, strict=True):
        frame[name] = [single["input_ids"][place] for place in places]
        frame[f"{name}_types"] = [types[place] for place in places]
    return frame


def _specials(mask: list[int]) -> list[list[int]]:
    """Return the places of special tokens before, between and after texts; a list may be empty."""
    found: list[list[int]] = [[]]
    for is_special, places in groupby(range(len(mask)), key=lambda place: mask[place]):
        if is_special:
            found[-1] = list(places)
        else:
            found.append([])
    return found
