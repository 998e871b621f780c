"""SMILES are cut as the models' authors cut them; the oracle is Python's ``re`` and a dictionary."""

from __future__ import annotations

import random
import re

import pytest
from transformers import AlbertConfig, AutoTokenizer, BertConfig

from agwm.models.packaged.smiles_tokenizer import ATOMS, ATOMS_AND_LONG_RINGS, smiles_tokenizer

# The authors' expressions: of rxnmapper's smiles_utils.py, and of rxnfp's tokenization.py.
_REST = r"\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9])"
MAPPER = r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|" + _REST
FINGERPRINTS = r"(\%\([0-9]{3}\)|\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\||" + _REST
SPECIAL = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [
    "c",
    "C",
    "(",
    ")",
    "O",
    "=",
    "1",
    "2",
    ">>",
    ">",
    ".",
    "Br",
    "Cl",
    "[C@H]",
    "%10",
    "%(123)",
    "|",
    "N",
]
SOME = [
    "CC(=O)Cl.OC>>CC(=O)OC", "c1ccccc1Br", "[C@H](N)C%10C%10", "C%(123)N%(123)", "C |f:0.1|", "cl BR [Na+]",
    "", " ", "[MASK]C", "CC[MASK]O", "C>O>N", "\nC\tC", "[unclosed", "C]C", "é[é]", "B[Br]r", "%1", "%123",
]  # fmt: skip


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, *TOKENS]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "pattern", "authors"),
    [(AlbertConfig, ATOMS, MAPPER), (BertConfig, ATOMS_AND_LONG_RINGS, FINGERPRINTS)],
)
def test_ids_are_those_of_the_authors(config, pattern, authors, vocabulary, tmp_path):
    ids = {token: index for index, token in enumerate([*SPECIAL, *TOKENS])}
    smiles_tokenizer(vocabulary, pattern, 512).save_pretrained(tmp_path / "model")
    config().save_pretrained(tmp_path / "model")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")  # must not become BERT's or ALBERT's own
    draw = random.Random(0)
    alphabet = [*TOKENS, *"[]%()lrBx0123>|@/\\ ", "[NH4+]"]
    texts = SOME + ["".join(draw.choices(alphabet, k=draw.randint(1, 12))) for _ in range(300)]
    unknown = 0
    for text in texts:
        expected = [ids.get(token, ids["[UNK]"]) for token in re.findall(authors, text)]
        assert loaded(text)["input_ids"] == [ids["[CLS]"], *expected, ids["[SEP]"]], text
        unknown += ids["[UNK]"] in expected
    assert 20 < unknown < 300
    assert (loaded.model_max_length, loaded.pad_token_id, loaded.mask_token_id) == (512, 0, ids["[MASK]"])


def test_a_pair_and_the_way_back(vocabulary):
    tokenizer = smiles_tokenizer(vocabulary, ATOMS, 512)
    pair = tokenizer("CO", "N")
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert (
        tokenizer.decode(tokenizer("CC(=O)Cl>>N")["input_ids"], skip_special_tokens=True) == "CC(=O)Cl>>N"
    )
