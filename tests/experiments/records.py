"""Records as a run writes them, for tests of tables and pictures."""

from __future__ import annotations

from agwm.experiments.record import record_of

METRICS = {"rte": "accuracy", "stsb": "spearman"}


def make_record(method="agwm", seed=1017, test=0.6, task="rte", model="tiny", size=300, **changes):
    """Return a record; ``changes`` are fields of any section."""
    alpha = {}
    if method in ("agwm", "frozen"):
        for layer in range(2):
            for index, kind in enumerate(("attention.output.dense", "output.dense")):
                mean = 1.0 if method == "frozen" else 1 - 0.01 * (1 + layer) - 0.001 * index
                name = f"bert.encoder.layer.{layer}.{kind}.weight"
                alpha[name] = {"mean": mean, "min": mean - 0.01, "max": 1.0}
        alpha["bert.pooler.dense.weight"] = {"mean": 0.98, "min": 0.9, "max": 1.0}
    content = {
        "run_info": {
            "method": method,
            "label": method,
            "task": task,
            "model": model,
            "train_size": size,
            "seed": seed,
            "settings": {},
            "data": "0",
            "versions": {},
            "device": "cpu",
            "threads": 1,
        },
        "train_info": {
            "failure": None if test is not None else "not finite",
            "num_train": size,
            "num_dev": 50,
            "num_test": None,
            "passes": 57 if method == "vanilla" else 237,
            "total_seconds": 10.0 + seed % 10,
            "seconds": {},
            "alpha": alpha,
            "history": [],
        },
        "scores": {
            "metric": METRICS[task],
            "test": test,
            "dev": test,
            "constant": 0.5,
            "is_degenerate": test is not None and test <= 0.5,
        },
    }
    return changed(record_of(content, "a record"), **changes)


def changed(record, **changes):
    """Return a record with other values of some fields, of whichever section has them."""
    content = record.to_dict()
    for section in content.values():
        section.update({key: changes.pop(key) for key in list(changes) if key in section})
    assert not changes
    return record_of(content, "a record")
