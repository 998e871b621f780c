"""The tokenizer of SMILES, the notation of molecules: a regular expression over a list of tokens.

The models that were trained with it come without a ``tokenizer.json``. Of their ``vocab.txt`` transformers
would make BERT's tokenizer, which lowers letters and cuts at brackets: wrong ids, without a word.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from agwm.files import read_text

__all__ = ["ATOMS", "ATOMS_AND_LONG_RINGS", "smiles_tokenizer"]

# An atom in brackets, an element of two letters or one, the reaction's arrow, a ring's number, or a sign.
ATOMS = r"\[[^\]]+\]|Br?|Cl?|>>?|%[0-9]{2}|[NOSPFIbcnosp().=#\-+\\/:~@?*$0-9]"
# The same, with ring numbers of three digits and the sign of fragments.
ATOMS_AND_LONG_RINGS = rf"%\([0-9]{{3}}\)|\||{ATOMS}"

_ROLES = ("pad", "unk", "cls", "sep", "mask")


def smiles_tokenizer(vocabulary: Path, pattern: str, max_length: int) -> PreTrainedTokenizerFast:
    r"""Return the tokenizer: the matches of a pattern, each a token, between ``[CLS]`` and ``[SEP]``.

    A match that is not in the vocabulary becomes ``[UNK]``. What the pattern does not match, such as a
    space, is left out, as the models' authors do.

    Args:
        vocabulary: File of one token a line, in the order of their ids; it holds the special tokens.
        pattern: Regular expression of a token.
        max_length: Largest number of tokens that the model reads.

    Raises:
        DataError: If the vocabulary cannot be read.
    """
    tokens = read_text(vocabulary, "a vocabulary").removesuffix("\n").split("\n")
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    roles = {f"{role}_token": f"[{role.upper()}]" for role in _ROLES}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **roles,
    )
