"""How fast an engine trains a cohort on this machine, measured once and kept for later commands."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from normlab.engine.environment import describe
from normlab.engine.spec import Engine
from normlab.records import Cohort, digest
from normlab.tasks.catalog import find_task

TRIALS = 2  # the first one warms up


def cache_folder() -> Path:
    """Where measurements are kept: ``$NORMLAB_CACHE``, or a folder of the user's for caches."""
    if given := os.environ.get("NORMLAB_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "normlab"


def seconds_per_step(engine: Engine, cohort: Cohort, device: str) -> float:
    """Seconds per step and replica of a training of one epoch, with everything that is measured.

    Kept in a file by engine, machine and versions, task, norm, setting and number of replicas.
    """
    count = _replicas(engine, cohort, device)
    short = replace(cohort, setting=cohort.setting.model_copy(update={"epochs": 1}), seeds=tuple(range(count)))
    key = digest(
        {
            "environment": describe(engine.name, device, ("torch", "numpy")),
            "task": short.task,
            "norm": short.norm,
            "setting": short.setting.model_dump(mode="json"),
            "replicas": count,
        }
    )
    path = cache_folder() / "calibration" / f"{key}.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds_per_step"])
    except (OSError, ValueError, KeyError, TypeError):  # not measured yet, or not by this version
        seconds = _measure(engine, short, device)
    with suppress(OSError):  # without a folder for caches it is measured anew next time
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seconds_per_step": seconds}), encoding="utf-8")
    return seconds


def trial_runs(engine: Engine, cohort: Cohort, device: str) -> int:
    """What a trial costs at the most: runs of one epoch."""
    return TRIALS * _replicas(engine, cohort, device)


def _replicas(engine: Engine, cohort: Cohort, device: str) -> int:
    return min(len(cohort.seeds), engine.part_size(cohort, device))


def _measure(engine: Engine, cohort: Cohort, device: str) -> float:
    steps = cohort.setting.steps_per_epoch(find_task(cohort.task).training_samples)
    fastest = float("inf")
    for _ in range(TRIALS):
        began = perf_counter()
        for _ in engine.train(cohort, device):
            pass
        fastest = min(fastest, perf_counter() - began)
    return fastest / steps / len(cohort.seeds)
