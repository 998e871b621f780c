"""The kinds of hostile input: each is a strategy that draws commands with their files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from agwm.command_line.main import make_parser
from agwm.experiments.config import RunConfig
from agwm.experiments.yaml_files import lay_over
from benchmarks.hostile.files import data_files, headers, trees
from benchmarks.hostile.judgement import Case
from benchmarks.hostile.place import FIT, RUN, SETTINGS
from benchmarks.hostile.values import YAML, changed, damaged, json_text, odd_texts

__all__ = ["KINDS"]

Cases = st.SearchStrategy[Case]
_DATA = ("tiny", "train.csv", "test.csv")
_PREDICT = ["predict", "saved", "new.csv"]
_WHOLE = lay_over(RunConfig().to_dict(), SETTINGS)  # every key that there is
_AXES = {
    "tasks": ["own"],
    "train_sizes": [20],
    "models": ["tiny"],
    "seeds": [5, 6],
    "settings": {"max_length": 12},
}
_SHARED = {
    key: value for key, value in SETTINGS.items() if key not in ("methods", "model", "train_size", "seeds")
}
_GRID = {
    "settings": _SHARED,
    "seconds_per_pass": 0.5,
    "grid": [
        {**_AXES, "methods": {"vanilla": {}, "slow": {"method": "agwm", "search": {"num_resplits": 2}}}}
    ],
}
_TUNING = {
    "settings": _SHARED,
    "tune": [
        {**_AXES, "methods": {"vanilla": [{"vanilla": {"epochs": n}} for n in (1, 2)], "frozen": [{}, {}]}}
    ],
}
_TUNING["tune"][0]["methods"]["frozen"] = [{"final": {"epochs": n}} for n in (1, 2)]
_SNIPPETS = (
    "<<: *x",
    "x: &x {epochs: 2}",
    "base: config.yaml",
    "base: demo",
    "%YAML 9.9",
    "%TAG ! x",
    "? a",
    "- b",
)


@st.composite
def _yaml(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    """Draw the bytes of a YAML file: a changed document as flow YAML, or its lines damaged."""
    if draw(st.booleans()):
        text = json_text(draw(changed(document, YAML)))
    else:
        text = yaml.safe_dump(document, sort_keys=False)
    return draw(damaged(text, _SNIPPETS))


def configs() -> Cases:
    """YAML files of one experiment, short ones and ones with every key."""
    file = st.one_of(
        _yaml(SETTINGS), _yaml(_WHOLE), _yaml({"base": "config.yaml", "methods": ["agwm", "lora"]})
    )
    given = ["compare", "--config", "own.yaml"]
    return file.map(lambda data: Case(given, (*_DATA, "config.yaml"), {"own.yaml": data}))


def grids() -> Cases:
    """YAML files of grids and of tunings, planned and also begun."""
    chosen = st.tuples(
        st.sampled_from([("--grid", _GRID), ("--tune", _TUNING)]).flatmap(
            lambda pair: st.tuples(st.just(pair[0]), _yaml(pair[1]))
        ),
        st.sampled_from([["--dry-run"], [], ["--dry-run", "--seeds", "3", "--lr", "1e-3"]]),
    )
    return chosen.map(
        lambda drawn: Case(
            ["compare", drawn[0][0], "own.yaml", *drawn[1]],
            (*_DATA, "runs"),
            {"own.yaml": drawn[0][1]},
            "agwm.command_line.compare.run_grid",
        )
    )


@st.composite
def assignments(draw: st.DrawFn) -> Case:
    """Texts of ``--set``."""
    given = list(RUN)
    for _ in range(draw(st.integers(1, 2))):
        tree, path = _WHOLE, []
        while isinstance(tree, dict) and tree and (not path or draw(st.integers(0, 9))):
            path.append(draw(st.sampled_from(list(tree))))
            tree = tree[path[-1]]
        value = json_text(draw(changed(tree, YAML)))
        key = (
            draw(st.sampled_from([".".join(path)] * 9 + [path[-1], "." + path[0], "x" * 300]))
            if path
            else ""
        )
        given += ["--set", draw(st.sampled_from([f"{key}={value}"] * 9 + [key, value, f"{key} = {value}"]))]
    return Case(given, (*_DATA, "config.yaml"))


_COMMANDS: dict[str, tuple[list[str], tuple[str, ...], str]] = {
    "compare": (RUN, (*_DATA, "config.yaml"), "agwm.experiments.run.Job"),
    "fit": (FIT, _DATA, "agwm.model_selection.selection.seconds_per_pass"),
    "predict": (_PREDICT, ("saved", "new.csv"), "agwm.experiments.run.Job"),
    "report": (["report", "runs", "--output-dir", "out"], ("runs",), "agwm.experiments.run.Job"),
}
# Values of flags that are right somewhere, so that one flag meets another.
_RIGHT = (
    "1", "2", "0", "0.5", "1e-3", "20", "vanilla", "agwm,lora", "text", "label", "train.csv", "test.csv",
    "tiny", "saved", "runs", "out", "cpu", "auto", "all", "whole", "5,6", "latin-1", ";", "small",
    "macro_f1", "balanced", "new.csv", "good", "config.yaml", "demo", "minilm", "grids/minilm",
    "epochs=1", "tiny=tiny", "threading", "out.csv", "out.json", "out.parquet", "out.xlsx",
    "acceptability", "-", "ray",
)  # fmt: skip


def _actions(command: str) -> list[argparse.Action]:
    (commands,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return [action for action in commands.choices[command]._actions if action.option_strings]


@st.composite
def flags(draw: st.DrawFn) -> Case:
    """Command lines of every command: flags with odd values, left out, twice, or unknown."""
    command = draw(st.sampled_from(sorted(_COMMANDS)))
    base, parts, stop = _COMMANDS[command]
    given, actions = list(base), _actions(command)
    texts = st.one_of(st.sampled_from(_RIGHT), odd_texts.map(_as_argument))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        how = draw(st.sampled_from(["flag"] * 6 + ["word", "left out", "replaced"]))
        place = draw(st.integers(1, len(given)))
        if how == "flag":
            action = draw(st.sampled_from(actions))
            name = draw(st.sampled_from(action.option_strings))
            value = [] if action.nargs == 0 else [draw(texts)]
            given += draw(st.sampled_from([[name, *value]] * 4 + [[f"{name}={''.join(value)}"], [name]]))
        elif how == "word":
            given.insert(place, draw(texts))
        elif place < len(given):
            given[place : place + 1] = [draw(texts)] if how == "replaced" else []
    return Case(given, parts, {}, stop, b"the good dog\n")


def _as_argument(text: str) -> str:
    """Return a text as a shell hands it on: bytes that are no UTF-8 are halves of letters; none is NUL."""
    return (
        text.replace("\0", "")
        .encode("utf-8", "surrogateescape" if _is_sound(text) else "replace")
        .decode("utf-8", "surrogateescape")
    )


def _is_sound(text: str) -> bool:
    return all(not 0xD800 <= ord(c) <= 0xDFFF or 0xDC80 <= ord(c) <= 0xDCFF for c in text)


def _json(path: Path) -> Cases:
    """Draw the bytes of a changed JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return changed(document).map(json_text).flatmap(damaged)


def records(place: Path) -> Cases:
    """Records of runs that ``report`` reads, or that ``compare`` finds, and lists of refusals."""
    paths = sorted((place / "runs" / "results").glob("*.json"))
    refusal = dict.fromkeys(("label", "method", "task", "model", "reason", "settings"), "lora")
    refused = changed([{**refusal, "task": "own", "model": "tiny", "train_size": 20}]).map(json_text)
    report = ["report", "runs", "--output-dir", "out"]
    compare = [*RUN, "--method", "vanilla,frozen,agwm", "--seeds", "5,6", "--output-dir", "runs"]
    grid = json_text({**_GRID, "settings": {**_SHARED, "output_dir": "runs"}}).encode()
    plan = ["compare", "--grid", "grid.yaml", "--dry-run"]

    def case(drawn: tuple) -> Case:
        argv, path, record, list_of_refusals = drawn
        files = {f"runs/results/{path.name}": record, "grid.yaml": grid}
        if list_of_refusals is not None:
            files["runs/refused.json"] = list_of_refusals
        return Case(argv, (*_DATA, "config.yaml", "runs"), files)

    record = st.sampled_from(paths).flatmap(lambda path: st.tuples(st.just(path), _json(path)))
    return st.tuples(
        st.sampled_from([report, report, compare, plan]),
        record,
        st.one_of(st.none(), refused.flatmap(damaged)),
    ).map(lambda drawn: case((drawn[0], *drawn[1], drawn[2])))


def own_files() -> Cases:
    """CSV, TSV and JSON lines that ``fit``, ``compare`` and ``predict`` read, and standard input."""

    def case(drawn: tuple) -> Case:
        command, (name, data), is_test, flag = drawn
        argv, parts, stop = _COMMANDS[command]
        if command == "predict":
            return Case(["predict", "saved", name, *flag], parts, {name: data}, stop)
        if command == "compare":
            pair = ["train.csv", name] if is_test else [name, "test.csv"]
            argv = [*argv, "--train-file", pair[0], "--test-file", pair[1]]
        else:
            argv = [*argv, "--test", name] if is_test else ["fit", name, *argv[2:]]
        return Case([*argv, *flag], parts, {name: data}, stop)

    flag = st.sampled_from([[]] * 6 + [["--encoding", "latin-1"], ["--separator", ";"]])
    files = st.tuples(
        st.sampled_from(["fit", "compare", "predict"]), data_files(), st.booleans(), flag
    ).map(case)
    lines = damaged("the good dog\nthe bad cat\n", ("a\tb", "\0")).map(
        lambda data: Case(["predict", "saved"], ("saved",), {}, "agwm.experiments.run.Job", data)
    )
    return st.one_of(files, files, files, lines)


def models(place: Path) -> Cases:
    """JSON files of saved models, those of agwm and those of transformers, and headers of weights."""

    def case(drawn: tuple) -> Case:
        name, data = drawn
        return Case(_PREDICT, ("saved", "new.csv"), {f"saved/{name}": data})

    small = [path for path in sorted((place / "saved").glob("*.json")) if path.stat().st_size < 20_000]
    task = [path for path in small if path.name == "agwm_task.json"]
    file = st.sampled_from([*small, *task * len(small)])
    changed_json = file.flatmap(lambda path: st.tuples(st.just(path.name), _json(path)))
    weights = headers(place / "saved" / "model.safetensors").map(lambda data: ("model.safetensors", data))
    return st.one_of(changed_json, changed_json, changed_json, weights).map(case)


def checkpoints(place: Path) -> Cases:
    """Facts, headers and trees of checkpoints of ``compare``, and cells that ``fit`` has kept."""
    (folder,) = (place / "out" / "checkpoints").iterdir()
    newest = sorted(folder.glob("*.safetensors"))[-1]
    inner = folder.relative_to(place)
    going_on = [*RUN, "--method", "vanilla"]

    def of_run(name: str) -> Callable[[bytes], Case]:
        parts = (*_DATA, "config.yaml", "out")
        return lambda data: Case(going_on, parts, {f"{inner}/{name}": data}, "agwm.training.loop.Progress")

    def of_fit(drawn: tuple) -> Case:
        path, data = drawn
        files = {str(path.relative_to(place)): data}
        return Case(FIT, (*_DATA, "chosen"), files, "agwm.fitting.fit._save")

    cells = sorted((place / "chosen" / "selection").glob("*.json"))
    return st.one_of(
        _json(folder / "run.json").map(of_run("run.json")),
        headers(newest).map(of_run(newest.name)),
        trees(newest).map(of_run(newest.name)),
        trees(newest).map(of_run("01-done.safetensors")),
        st.sampled_from(cells).flatmap(lambda path: st.tuples(st.just(path), _json(path))).map(of_fit),
    )


KINDS: dict[str, Callable[[Path], Cases]] = {
    "config files": lambda place: configs(),
    "grid and tuning files": lambda place: grids(),
    "settings of `--set`": lambda place: assignments(),
    "flags": lambda place: flags(),
    "records": records,
    "own data files": lambda place: own_files(),
    "files of saved models": models,
    "checkpoints": checkpoints,
}
