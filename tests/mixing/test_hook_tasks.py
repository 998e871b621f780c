"""Injected models in other tasks than classification, in generation, in Trainer and in a pipeline."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments, pipeline

import agwm
from tests.architectures import VOCAB_SIZE, text_batch
from tests.mixing.hook_checks import own_weights, plain_twin, randomize
from tests.tiny_models import TINY_MODELS, tiny_bert

GENERATORS = [name for name, tiny in TINY_MODELS.items() if tiny.generates]
QUERY = "bert.encoder.layer.0.attention.self.query.weight"


def injected_and_twin(build):
    mixup = agwm.inject(build().eval(), seed=0)
    randomize(mixup)
    return mixup, plain_twin(mixup, build().eval())


@pytest.mark.parametrize("name", TINY_MODELS)
def test_output_equals_that_of_the_plain_model(name):
    tiny = TINY_MODELS[name]
    mixup, twin = injected_and_twin(tiny.build)
    with torch.no_grad():
        ours, theirs = mixup.model(**tiny.batch()), twin(**tiny.batch())
        start = tiny.build().eval()(**tiny.batch())
    for key, value in theirs.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-5)
    assert (theirs.loss - start.loss).abs() > 1e-4, "mixing moved nothing"


@pytest.mark.parametrize("name", GENERATORS)
def test_generation_equals_that_of_the_merged_model(name):
    tiny = TINY_MODELS[name]
    mixup, _ = injected_and_twin(tiny.build)
    model = mixup.model
    prompt = {key: value[:1, :5] for key, value in tiny.batch().items() if key != "labels"}
    options = {"max_new_tokens": 8, "output_scores": True, "return_dict_in_generate": True}

    ours = model.generate(**prompt, **options, do_sample=False)
    with mixup.cached():
        cached = model.generate(**prompt, **options, do_sample=False)
    beams = model.generate(**prompt, **options, do_sample=False, num_beams=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sampled = model.generate(**prompt, **options, do_sample=True)
    mixup.remove()
    plain = model.generate(**prompt, **options, do_sample=False)
    assert not torch.equal(plain.scores[0], ours.scores[0])

    mixup, _ = injected_and_twin(tiny.build)
    merged = mixup.merge()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected_sample = merged.generate(**prompt, **options, do_sample=True)
    expected = merged.generate(**prompt, **options, do_sample=False)
    expected_beams = merged.generate(**prompt, **options, do_sample=False, num_beams=2)
    assert expected.sequences.shape[1] > 1
    for one, other in [
        (ours, expected),
        (cached, expected),
        (beams, expected_beams),
        (sampled, expected_sample),
    ]:
        assert torch.equal(one.sequences, other.sequences)
        assert all(torch.equal(a, b) for a, b in zip(one.scores, other.scores, strict=True))


@pytest.mark.parametrize("name", GENERATORS)
def test_generation_mixes_each_weight_once_when_cached(name, monkeypatch):
    tiny = TINY_MODELS[name]
    mixup, _ = injected_and_twin(tiny.build)
    num_mixed = 0
    from agwm.mixing import mixed_weight

    mix_weights = mixed_weight.mix_weights

    def counted(*args):
        nonlocal num_mixed
        num_mixed += 1
        return mix_weights(*args)

    monkeypatch.setattr(mixed_weight, "mix_weights", counted)
    with mixup.cached():
        mixup.model.generate(tiny.batch()["input_ids"][:1, :5], max_new_tokens=6, do_sample=False)
    assert num_mixed <= len(mixup.names)


def examples():
    batch = text_batch()
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        )
    ]


def trainer(model, directory, **options):
    arguments = TrainingArguments(
        output_dir=str(directory),
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        per_device_eval_batch_size=2,
        dataloader_pin_memory=False,
        save_strategy="no",
        **options,
    )
    return Trainer(model, arguments, train_dataset=examples(), eval_dataset=examples())


def classifier():
    return tiny_bert(num_labels=3)


def test_trainer_evaluates_the_mixed_weights(tmp_path):
    mixup, twin = injected_and_twin(classifier)
    ours = trainer(mixup.model, tmp_path).evaluate()["eval_loss"]
    theirs = trainer(twin, tmp_path).evaluate()["eval_loss"]
    start = trainer(classifier(), tmp_path).evaluate()["eval_loss"]
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert abs(theirs - start) > 1e-3


def test_trainer_trains_the_task_weights(tmp_path):
    mixup, _ = injected_and_twin(classifier)
    before = {name: value.clone() for name, value in mixup.model.state_dict().items()}
    w0 = mixup.pretrained[QUERY].clone()
    alpha = mixup.alpha(QUERY).detach().clone()
    trainer(mixup.model, tmp_path, max_steps=1, learning_rate=1e-2).train()
    assert agwm.mixup_of(mixup.model) is mixup
    assert not torch.equal(own_weights(mixup.model)[QUERY], before[QUERY])
    assert torch.equal(mixup.pretrained[QUERY], w0)
    assert torch.equal(mixup.alpha(QUERY), alpha)


def word_tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"the a cat dog sat ran on mat far away".split()]
    assert len(words) <= VOCAB_SIZE
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def test_pipeline_sees_the_mixed_weights():
    mixup, twin = injected_and_twin(classifier)
    texts = ["the cat sat on a mat", "a dog ran far away"]

    def scores(model):
        classify = pipeline("text-classification", model=model, tokenizer=word_tokenizer(), device="cpu")
        return [
            [row["score"] for row in sorted(rows, key=lambda row: row["label"])]
            for rows in classify(texts, top_k=None)
        ]

    ours, theirs, start = (
        torch.tensor(scores(model)) for model in (mixup.model, twin, classifier().eval())
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert (theirs - start).abs().max() > 1e-3
    mixup.merge()
    assert torch.equal(torch.tensor(scores(mixup.model)), ours)
