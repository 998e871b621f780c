"""Records as a run writes them, for tests of tables and pictures."""

from __future__ import annotations

METRICS = {"rte": "accuracy", "stsb": "spearman"}


def make_record(method="agwm", seed=1017, test=0.6, task="rte", model="tiny", size=300, **changes):
    alpha = {}
    if method in ("agwm", "frozen"):
        for layer in range(2):
            for index, kind in enumerate(("attention.output.dense", "output.dense")):
                mean = 1.0 if method == "frozen" else 1 - 0.01 * (1 + layer) - 0.001 * index
                name = f"bert.encoder.layer.{layer}.{kind}.weight"
                alpha[name] = {"mean": mean, "min": mean - 0.01, "max": 1.0}
        alpha["bert.pooler.dense.weight"] = {"mean": 0.98, "min": 0.9, "max": 1.0}
    return {
        "run_info": {
            "method": method,
            "task": task,
            "model": model,
            "train_size": size,
            "seed": seed,
            "settings": {},
            "data": "0",
            "versions": {},
        },
        "train_info": {
            "failure": None if test is not None else "not finite",
            "passes": 57 if method == "vanilla" else 237,
            "total_seconds": 10.0 + seed % 10,
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
        **changes,
    }
