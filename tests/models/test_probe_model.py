"""The probe's own class: texts of a pair are told apart and encoded alone, whatever the padding."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from agwm.models.probe import ProbeConfig, ProbeForSequenceClassification, split_pair
from agwm.models.probe_frame import frame_of
from agwm.testing.tiny_models import pretrained

WORDS = "good bad cat dog saw a".split()
TEMPLATES = {
    "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
    "xlnet": ("$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"),
    "t5": ("$A [SEP]", "$A [SEP] $B [SEP]"),
    "llama": ("[CLS] $A", "[CLS] $A [CLS] $B"),
    "gpt2": ("$A", "$A $B"),
}
TEXTS = [("a good cat", "bad"), ("dog", "a dog saw a cat"), ("cat", "cat")]


def tokenizer_of(family, side="right"):
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single, pair = TEMPLATES[family]
    special = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=special
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", padding_side=side,
    )  # fmt: skip


def probe_of(family, frame, num_labels=3):
    encoder = pretrained(family).model.base_model
    config = ProbeConfig(encoder.config.to_dict(), frame, num_labels=num_labels, pad_token_id=0)
    model = ProbeForSequenceClassification(config, encoder).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        nn.init.normal_(model.classifier.weight)
    return model


@pytest.mark.parametrize("with_types", [True, False])
@pytest.mark.parametrize("family", [name for name in TEMPLATES if name != "gpt2"])
def test_a_pair_is_split_where_the_tokenizer_joined_it(family, with_types):
    tokenizer = tokenizer_of(family)
    frame = frame_of(tokenizer)
    for first, second in TEXTS:
        joined = tokenizer(first, second, return_token_type_ids=True)
        types = joined["token_type_ids"] if with_types else None
        alone = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (first, second)]
        assert split_pair(joined["input_ids"], frame, types) == tuple(alone)
        assert split_pair(tokenizer(first)["input_ids"], frame) is None


def test_a_pair_with_nothing_between_its_texts_is_one_text():
    assert frame_of(tokenizer_of("gpt2")) is None


def test_types_tell_the_second_text_where_the_first_holds_the_mark():
    tokenizer = tokenizer_of("bert")
    joined = tokenizer("good [SEP] bad", "cat", return_token_type_ids=True)
    first, second = split_pair(joined["input_ids"], frame_of(tokenizer), joined["token_type_ids"])
    assert len(first) == 3 and len(second) == 1


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("family", "template"),
    [
        ("bert", "bert"),
        ("roberta", "roberta"),
        ("xlnet", "xlnet"),
        ("bart", "roberta"),
        ("llama", "llama"),
    ],
)
def test_features_are_those_of_each_text_alone(family, template, side):
    tokenizer = tokenizer_of(template, side)
    model = probe_of(family, frame_of(tokenizer))
    takes_types = family in ("bert", "xlnet")
    encoder = model.encoder.get_encoder() if family == "bart" else model.encoder

    def vector(text):
        one = tokenizer(text, return_tensors="pt", return_token_type_ids=takes_types)
        mean = encoder(**one).last_hidden_state[0].double().mean(0)
        return mean / mean.norm()

    with torch.no_grad():
        texts = map(list, zip(*TEXTS, strict=True))
        options = {"padding": True, "return_tensors": "pt", "return_token_type_ids": takes_types}
        batch = tokenizer(*texts, **options)
        found = model.features(**batch)
        for row, (first, second) in zip(found, TEXTS, strict=True):
            u, v = vector(first), vector(second)
            expected = torch.cat([u, v, (u - v).abs(), u * v])
            assert expected.norm() > 1
            torch.testing.assert_close(row.double(), expected, rtol=1e-4, atol=1e-5)
        logits = model(**batch).logits
    torch.testing.assert_close(logits, model.classifier(found))


def test_a_single_text_in_a_model_for_pairs_is_refused():
    tokenizer = tokenizer_of("bert")
    model = probe_of("bert", frame_of(tokenizer))
    with pytest.raises(ValueError, match="Row 1 is no pair of texts: expected two texts, got one"):
        model(**tokenizer(["good"], return_tensors="pt"))


@pytest.mark.parametrize(
    ("kind", "num_labels", "labels"),
    [
        ("regression", 1, torch.tensor([0.5, 1.0, -1.0])),
        ("single_label_classification", 3, torch.tensor([0, 2, 1])),
        ("multi_label_classification", 3, torch.tensor([[0.0, 1, 1], [0, 0, 0], [1, 0, 1]])),
    ],
)
def test_the_loss_is_that_of_transformers_own_classes(kind, num_labels, labels):
    model = probe_of("bert", None, num_labels)
    model.config.problem_type = kind
    plain = pretrained("bert", num_labels).model
    plain.config.problem_type = kind
    batch = tokenizer_of("bert")([first for first, _ in TEXTS], padding=True, return_tensors="pt")
    logits = model(**batch).logits.detach()
    plain.classifier.register_forward_hook(lambda *_: logits)
    with torch.no_grad():
        losses = [float(one(**batch, labels=labels).loss) for one in (model, plain)]
    assert losses[0] == pytest.approx(losses[1])


PROGRAM = """
import sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    print(model(**tokenizer("a good cat", "bad", return_tensors="pt")).logits.tolist())
assert not [name for name in sys.modules if name.partition(".")[0] == "agwm"]
"""


def test_transformers_alone_loads_what_is_saved(tmp_path):
    tokenizer = tokenizer_of("bert")
    model = probe_of("bert", frame_of(tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True, text=True, timeout=200, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    with torch.no_grad():
        expected = model(**tokenizer("a good cat", "bad", return_tensors="pt")).logits
    torch.testing.assert_close(torch.tensor(json.loads(outcome.stdout)), expected)
    # with agwm there is no question of trust
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(again) is ProbeForSequenceClassification
    assert isinstance(AutoConfig.from_pretrained(tmp_path), ProbeConfig)
