"""The fidelity of the whole hypergradient on a small net: figures that are right, and that differ."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.models import Machine
from benchmarks.whole_hypergradient import DIRECT, SCHEMES, Ground, Setting, measure, render


def ground():
    """Two blocks of 32, dropout of 0.1, twelve batches of random tokens on either side."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertForSequenceClassification(
        BertConfig(vocab_size=50, max_position_embeddings=16, attn_implementation="eager", **sizes)
    )

    def batches():
        return [
            {
                "input_ids": torch.randint(0, 50, (4, 8)),
                "attention_mask": torch.ones(4, 8, dtype=torch.long),
                "labels": torch.randint(0, 2, (4,)),
            }
            for _ in range(12)
        ]

    return Ground(model.train(), batches(), batches())


@pytest.mark.parametrize(
    "setting", [Setting(), Setting(best_response="sgd"), Setting(unroll_steps=2, is_far=True)], ids=str
)
def test_the_explicit_part_is_nearer_to_the_exact_hypergradient_than_the_direct_term(setting):
    records = {record["scheme"]: record["steps"] for record in measure(ground(), setting, Machine())}
    assert list(records) == [DIRECT, *SCHEMES]
    last = 12 // setting.unroll_steps
    expected = [2 * setting.unroll_steps, (last + 1) // 2 * setting.unroll_steps, 12]
    for scheme in SCHEMES:
        assert [step["step"] for step in records[scheme]] == expected
        assert all(step["whole"]["cosine"] > 0.9 and step["share"] > 0 for step in records[scheme])
    if setting.unroll_steps == 1:  # of a window the difference takes the last step alone
        assert max(step["whole"]["error"] for step in records["central"]) < 0.02
    own, alone = (sum(step["whole"]["error"] for step in records[name]) for name in ("explicit", DIRECT))
    assert 0 < own < alone  # the figure sees the part that the direct term lacks


def test_the_page_has_a_row_for_every_scheme():
    steps = [{"step": 2, "whole": {"cosine": 0.5, "error": 0.25}, "share": 0.1} for _ in range(3)]
    indirect = {"cosine": 0.75, "error": 0.5}
    records = [{"scheme": DIRECT, "steps": steps}]
    records += [
        {"scheme": name, "steps": [step | {"indirect": indirect} for step in steps]} for name in SCHEMES
    ]
    setting = {"task": "sst2", "best_response": "sgd", "unroll_steps": 2, "is_far": True}
    text = render(
        {
            "model": "tiny",
            "rows": 12,
            "versions": {"torch": "1"},
            "command": "python",
            "card": None,
            "minutes": 1.0,
            "settings": [{"setting": setting, "records": records}],
        }
    )
    rows = [line for line in text.splitlines() if line.startswith("| sst2, sgd, 2 inner steps, alpha from")]
    assert len(rows) == 4 and all("0.50000" in row and "25.00%" in row for row in rows)
    assert "0.7500" not in rows[0] and "0.7500" in rows[1]
