"""Records of a small made-up comparison, for tests of the report."""

from __future__ import annotations

from agwm.files import write_json
from tests.experiments.records import make_record

METHODS = ("vanilla", "frozen", "agwm")
SEEDS = (5, 6, 7)
# label -> task -> scores of the seeds; None: failed, no number: not run.
SCORES = {
    "vanilla": {"rte": (0.50, 0.60, 0.70), "stsb": (0.20, 0.30, 0.40)},
    "frozen": {"rte": (0.60, 0.62, 0.70), "stsb": (0.30, 0.30, 0.45)},
    "agwm": {"rte": (0.65, None, 0.75), "stsb": (0.40, 0.35)},
    "agwm_k5": {"rte": (0.70, 0.70, 0.70), "stsb": (0.50, 0.40, 0.60)},
}


def make_records(scores=SCORES):
    """Return the records of all of them, with settings as a run stores them."""
    records = []
    for label, tasks in scores.items():
        method = label.split("_k")[0]
        for task, values in tasks.items():
            for seed, score in zip(SEEDS, values, strict=False):
                own = settings(method, label, seed)
                records.append(make_record(method, seed, score, task, label=label, settings=own))
    return records


def settings(method, label, seed):
    own = {"method": method, "seed": seed, "max_length": 128}
    if method == "vanilla":
        return own | {"vanilla": {"epochs": 3}}
    num_resplits = 5 if label.endswith("_k5") else 1
    mixing = {"alpha": "rank1", "init_std": 0.005}
    return own | {"mixing": mixing, "search": {"num_resplits": num_resplits, "roll_back": method == "agwm"}}


def write_records(folder, records):
    """Write records as a run does; return the folder."""
    (folder / "results").mkdir(parents=True)
    for place, record in enumerate(records):
        write_json(folder / "results" / f"{place:03d}.json", record.to_dict())
    return folder
