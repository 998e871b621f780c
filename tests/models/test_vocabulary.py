"""A tokenizer is compared with the embeddings of its model."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DebertaV2Config,
    GPT2Config,
    PreTrainedTokenizerFast,
    RobertaConfig,
    T5Config,
    XLMRobertaConfig,
)

from agwm.errors import ModelError
from agwm.models.pretrained import load_pretrained
from agwm.models.vocabulary import check_reading, check_tokenizer
from agwm.testing.tiny_models import pretrained
from agwm.testing.tokens import save_tokenizer

NAMES = ("bad", "good")
SMALL = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
CONFIGS = {
    "bert": BertConfig(vocab_size=99, **SMALL),
    "roberta": RobertaConfig(vocab_size=99, **SMALL),
    "xlm-roberta": XLMRobertaConfig(vocab_size=99, **SMALL),
    "deberta-v2": DebertaV2Config(vocab_size=99, **SMALL),
    "gpt2": GPT2Config(vocab_size=99, n_embd=4, n_layer=1, n_head=1),
    "t5": T5Config(vocab_size=199, d_model=4, d_kv=4, d_ff=4, num_layers=1, num_heads=1),
}


def words(size, first=0, unknown="[UNK]", rule=None):
    """Return a tokenizer of so many tokens, two of them special."""
    vocabulary = {token: index for index, token in enumerate([unknown, "[PAD]"])}
    vocabulary.update({f"w{index}": index for index in range(2 + first, size + first)})
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    core.pre_tokenizer, core.normalizer = pre_tokenizers.Whitespace(), rule
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token=unknown, pad_token="[PAD]")


def bert(rows):
    with torch.random.fork_rng(devices=[]):
        config = BertConfig(vocab_size=rows, max_position_embeddings=16, **SMALL)
        return AutoModelForSequenceClassification.from_config(config)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_folder_without_a_tokenizer(family, tmp_path):
    AutoModel.from_config(CONFIGS[family]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"has no tokenizer: .*vocab.txt.*--model") as error:
        load_pretrained(str(tmp_path), NAMES, seed=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("size", "rows"),
    [
        (30522, 30522),  # BERT, ELECTRA, MiniLM
        (50265, 50265),  # RoBERTa, BART, DeBERTa
        (128001, 128100),  # DeBERTa-v3
        (32100, 32128),  # T5
        (50295, 51200),  # Phi
        (50277, 50688),  # Pythia
        (100015, 102400),  # DeepSeek
        (32000, 32000),  # Llama, XLNet
        (28996, 28996),  # BERT, cased
    ],
)
def test_sizes_of_real_models_fit(size, rows):
    assert check_tokenizer("it", words(size), bert(rows)) == []


@pytest.mark.parametrize(
    ("size", "rows", "text"),
    [
        (50265, 30522, "does not fit its embeddings: expected ids below 30522, got 50264"),
        (100, 99, "expected ids below 99, got 99"),
        (30522, 50265, "is another model's: expected about 50265 tokens"),
        (320, 30522, "is another model's: expected about 30522 tokens, .* got 320"),
    ],
)
def test_another_models_tokenizer(size, rows, text):
    with pytest.raises(ModelError, match=f"{text}.*--model"):
        check_tokenizer("it", words(size), bert(rows))


def test_the_largest_id_counts_not_the_number_of_tokens():
    with pytest.raises(ModelError, match="expected ids below 99, got 103"):
        check_tokenizer("it", words(90, first=14), bert(99))


def test_a_small_vocabulary_of_a_small_model_is_told():
    (note,) = check_tokenizer("it", words(40), bert(99))
    assert note == "its tokenizer has 40 tokens, its embeddings have 99 rows"


def test_a_tokenizer_whose_library_panics(tmp_path):
    """A token of its template is missing: the library in Rust loads it, and panics when it is used."""
    save_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    del content["post_processor"]["special_tokens"]["[SEP]"]
    path.write_text(json.dumps(content))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match="Cannot use the tokenizer of model 'it': expected one that writes"
    ):
        check_reading("it", tokenizer, pretrained("bert").model)


def test_a_tokenizer_that_knows_no_word():
    with pytest.raises(ModelError, match=r"knows no word: .* got '\[UNK\]' for each"):
        check_tokenizer("it", words(99, rule=normalizers.Replace("w", "W")), bert(99))
    assert check_tokenizer("it", words(99), bert(99)) == []  # no word of English, but of its own


def test_token_types_that_the_model_has_not(tiny_model):
    loaded = load_pretrained(str(tiny_model), NAMES, seed=1)
    loaded.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    state = torch.random.get_rng_state()
    check_reading("it", loaded.tokenizer, loaded.model, is_pair=True)
    assert torch.equal(state, torch.random.get_rng_state())
    one_type = pretrained("bert").model
    one_type.bert.embeddings.token_type_embeddings = torch.nn.Embedding(1, 16)
    check_reading("it", loaded.tokenizer, one_type)
    with pytest.raises(ModelError, match=r"'it' cannot read .* for a pair of texts: .*index out of range"):
        check_reading("it", loaded.tokenizer, one_type, is_pair=True)


def test_an_end_token_that_the_tokenizer_leaves_out(tmp_path):
    save_tokenizer(tmp_path)
    pretrained("bart").model.save_pretrained(tmp_path)
    loaded = load_pretrained(str(tmp_path), ("class 0", "class 1"), seed=1)
    with pytest.raises(ModelError, match="'it' cannot read its tokenizer's output for a text: .*<eos>"):
        check_reading("it", loaded.tokenizer, loaded.model)
