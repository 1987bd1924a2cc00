"""Whether two versions of normlab train the same numbers, bit by bit, on one machine.

PYTHONPATH=OLD/src python3 benchmarks/series.py write before.npz      every series, by the normlab that is imported
PYTHONPATH=NEW/src python3 benchmarks/series.py write after.npz
python3 benchmarks/series.py compare before.npz after.npz             1 if any bit differs
python3 benchmarks/series.py table tests/engine/series.json           some of them to nine digits, for a lasting test

A few seeds of every built-in norm that fits into each of the first three tasks, under each engine, with settings that
reach every part of a run. It speaks to versions before and after studies had tables for training and model.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

SEEDS = (0, 5)
MODEL = {"hidden", "activation", "placement", "dropout", "loss"}  # fields that are options of the task
TASKS: dict[str, list[dict[str, Any]]] = {
    "article": [
        {"epochs": 2},
        {"epochs": 2, "dtype": "float64", "optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01},
        {"epochs": 2, "dropout": 0.2, "label_noise": 0.1, "placement": "after", "activation": "tanh"},
        {"epochs": 2, "loss": "squared_error", "optimizer": "adamw", "weight_decay": 0.1, "batch_size": 37},
        {"epochs": 3, "loss": "squared_error", "optimizer": "sgd", "learning_rate": 1e3},  # diverges
    ],
    "digits": [{"epochs": 1, "hidden": (20, 30)}],
    "digits-cnn": [{"epochs": 1, "hidden": (4, 8), "batch_size": 128}],
}
WITH_EVERY_NORM = {"article": 1, "digits": 0, "digits-cnn": 1}  # how many of these settings; the others with a few
FEW = ("batch", "group:groups=2", "none")
TABLE: dict[str, dict[str, Any]] = {  # in double precision, so that every processor and engine gives these digits
    "article": {"epochs": 1, "dtype": "float64"},
    "digits": {"epochs": 1, "dtype": "float64", "hidden": (20, 30), "batch_size": 128},
    "digits-cnn": {"epochs": 1, "dtype": "float64", "hidden": (4, 8), "batch_size": 256},
}
TABLE_NORMS = ("none", "batch", "group:groups=2", "dyt")
DIGITS = 9
ENGINES = ("sequential", "stacked", "fused")
NOISE_STEPS = 4


def main(arguments: list[str]) -> int:
    """Writes or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write")
    write.add_argument("file")
    write.add_argument("--engine", action="append", choices=ENGINES, help="repeat it; all by default")
    write.add_argument("--few", action="store_true", help="a few norms only")
    compare = commands.add_parser("compare")
    compare.add_argument("files", nargs=2)
    table = commands.add_parser("table")
    table.add_argument("file")
    given = parser.parse_args(arguments)
    if given.command == "table":
        content = {f"{task} {norm}": series_of("sequential", task, norm) for task in TABLE for norm in TABLE_NORMS}
        lines = (f"{json.dumps(case)}: {json.dumps(series)}" for case, series in content.items())
        Path(given.file).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return 0
    if given.command == "write":
        series: Any = dict(_all_series(given.engine or ENGINES, given.few))
        np.savez_compressed(given.file, **series)
        return 0
    return _compare(*given.files)


def _compare(before: str, after: str) -> int:
    with np.load(before) as old, np.load(after) as new:
        common = sorted(set(old.files) & set(new.files))
        different = [name for name in common if old[name].tobytes() != new[name].tobytes()]
        only = sorted(set(old.files) ^ set(new.files))
    print(f"{len(common)} series in both, {len(different)} differ, {len(only)} in one only")
    for name in different[:50]:
        print(f"differs: {name}")
    for name in only[:50]:
        print(f"in one only: {name}")
    return 1 if different or only else 0


def series_of(engine: str, task: str, norm: str) -> dict[str, list[float]]:
    """Some values of each series of the table, by seed and name; empty if the engine cannot train them."""
    return {
        name: [float(f"{value:.{DIGITS}g}") for value in values[1][:: max(1, len(values[1]) // 4)]]
        for name, values in _trainer()(engine, task, norm, TABLE[task])
        if values.dtype == np.float64
    }


def _trainer() -> Callable[[str, str, str, dict[str, Any]], Iterator[tuple[str, np.ndarray]]]:
    return _train_new if find_spec("normlab.training") else _train_old


def _all_series(engines: Iterable[str], few: bool) -> Iterator[tuple[str, np.ndarray]]:
    train = _trainer()
    for task, settings in TASKS.items():
        for number, setting in enumerate(settings):
            for norm in FEW if few or number >= WITH_EVERY_NORM[task] else _norms():
                for engine in engines:
                    for name, values in train(engine, task, norm, setting):
                        yield f"{engine}/{task}/{number}/{norm}/{name}", values
            print(f"{task} {setting}", file=sys.stderr)


def _norms() -> list[str]:
    from normlab.norms.catalog import NORMS

    sizes = {"groups": "groups=2", "size": "size=16"}
    texts = []
    for spec in NORMS:
        options = [sizes[option.name] for option in spec.options if option.name in sizes]
        texts.append(f"{spec.name}:{','.join(options)}" if options else spec.name)
    return texts


def _train_new(engine: str, task: str, norm: str, setting: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    from normlab.engine.choose import find_engine
    from normlab.errors import InputError
    from normlab.plan import resolve
    from normlab.probes.measure import Measure
    from normlab.recipe import Cohort
    from normlab.study.study import Study
    from normlab.training import Training

    study = Study(
        name="series",
        norms=[norm],
        tasks=[task],
        training=Training(**{name: value for name, value in setting.items() if name not in MODEL}),
        model={name: value for name, value in setting.items() if name in MODEL},
        measure=Measure(noise_steps=NOISE_STEPS),
        **({"fixed_data": True} if "fixed_data" in Study.model_fields else {}),  # else all data are
    )
    try:
        (recipe,) = resolve(study).recipes
    except InputError:
        return
    if find_engine(engine).supports(recipe) is None:
        for outcome in find_engine(engine).train(Cohort(recipe, SEEDS), "cpu"):
            yield from _series(outcome.seed, outcome)


def _train_old(engine: str, task: str, norm: str, setting: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    from normlab.engine.choose import find_engine
    from normlab.norms.catalog import parse
    from normlab.tasks.catalog import find_task

    known: Any = importlib.import_module("normlab.records")  # the first edition's module
    whole = find_task(task).resolve(known.Setting(**setting))  # type: ignore[attr-defined]
    for slot in find_task(task).slots(whole):  # type: ignore[misc]
        if parse(norm).refusal(slot, whole.batch_size) or parse(norm).emptiness(slot, whole.batch_size):
            return
    cohort = known.Cohort(0, task, whole, known.Measure(noise_steps=NOISE_STEPS), norm, SEEDS)
    if find_engine(engine).supports(cohort) is None:
        for outcome in find_engine(engine).train(cohort, "cpu"):
            old: Any = outcome
            yield from _series(old.run.seed, outcome)


def _series(seed: int, outcome: Any) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{seed}/batch_hash", np.array(outcome.batch_hash)
    yield f"{seed}/status", np.array([outcome.status, str(outcome.stopped_at), str(outcome.parameters)])
    for name, series in outcome.series.items():
        yield f"{seed}/{name}", np.stack([series.steps.astype(np.float64), series.values])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
