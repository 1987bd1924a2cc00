"""The parts of the benchmark that run in processes of their own: growth, cold start, whole commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from speed.job import Unavailable
from speed.machine import Neighbours
from speed.rounds import spread
from speed.training import NORMS, Plan

BENCHMARKS = Path(__file__).resolve().parents[1]
SIZES = (1, 8, 64, 512, 4096, 10_000)
MOST_SECONDS = 120.0  # a size that would take longer is left out, with the reason
WHOLE_SEEDS = 100
THOUSANDS_SEEDS = 3334


def growth(plan: Plan) -> dict[str, Any]:
    """Cost per replica and peak memory of the article task as the number of replicas grows."""
    norms = plan.norms or NORMS
    epochs = plan.epochs or (1 if plan.quick else 5)
    found: dict[str, Any] = {"task": "article", "epochs": epochs, "norms": {}}
    neighbours = Neighbours()
    for norm in norms:
        rows: list[dict[str, Any]] = []
        for replicas in SIZES[:3] if plan.quick else SIZES:
            expected = rows[-1]["seconds"] / rows[-1]["replicas"] * replicas if rows else 0.0
            if expected > MOST_SECONDS:
                rows.append({"replicas": replicas, "seconds": expected, "skipped": f"would take {expected:.0f} s"})
                continue
            plan.say(f"{norm}: {replicas} replicas")
            given = ["-m", "speed.growth", "article", norm, str(replicas), str(epochs)]
            rows.append(json.loads(_run([sys.executable, *given], {}, BENCHMARKS)))
        found["norms"][norm] = rows
    return found | {"others": neighbours.cores()}


def cold(plan: Plan) -> dict[str, Any]:
    """A small `normlab run` with empty caches (Numba, matplotlib's fonts), and with the caches that it left."""
    norms = plan.norms or NORMS
    rounds = 1 if plan.quick else min(plan.rounds, 3)
    times: dict[str, list[float]] = {"cold": [], "warm": []}
    neighbours = Neighbours()
    for number in range(rounds):
        plan.say(f"cold and warm: round {number + 1} of {rounds}")
        with tempfile.TemporaryDirectory() as folder:
            caches = {"NUMBA_CACHE_DIR": f"{folder}/numba", "MPLCONFIGDIR": f"{folder}/matplotlib"}
            for name, values in times.items():
                command = _normlab(norms, seeds=2, out=f"{folder}/{name}", epochs=1)
                values.append(_seconds(command, caches, Path(folder)))
    pairs = zip(times["cold"], times["warm"], strict=True)
    return {
        "command": "normlab run article --seeds 2 --epochs 1",
        "others": neighbours.cores(),
        "rows": {name: {"seconds": asdict(spread(values)), "rounds": values} for name, values in times.items()},
        "difference": asdict(spread(one - other for one, other in pairs)),
    }


def whole(plan: Plan) -> dict[str, Any]:
    """The published script with its three runs beside `normlab run` with three hundred, both from start to end."""
    norms = plan.norms or NORMS
    seeds = 2 if plan.quick else WHOLE_SEEDS
    names = ("published script, 3 runs", f"normlab run, {len(norms) * seeds} runs")
    times: dict[str, list[float]] = {name: [] for name in names}
    neighbours = Neighbours()
    for number in range(-1, plan.rounds):  # the first one only warms up
        plan.say(f"whole commands: round {number + 1} of {plan.rounds}")
        with tempfile.TemporaryDirectory() as folder:
            script = [sys.executable, str(BENCHMARKS / "published.py"), f"{folder}/published.png"]
            ours = _normlab(norms, seeds, f"{folder}/out", plan.epochs)
            turns = list(zip(names, (script, ours), strict=True))
            for name, command in turns if number % 2 == 0 else turns[::-1]:
                seconds = _seconds(command, {}, Path(folder))
                if number >= 0:
                    times[name].append(seconds)
    pairs = zip(*times.values(), strict=True)
    return {
        "command": f"normlab run article {' '.join(f'--norm {norm}' for norm in norms)} --seeds {seeds}",
        "others": neighbours.cores(),
        "rows": {name: {"seconds": asdict(spread(values)), "rounds": values} for name, values in times.items()},
        "ratio": asdict(spread(ours / script for script, ours in pairs)),
    }


def thousands(plan: Plan) -> dict[str, Any]:
    """Ten thousand runs of the article study with all curves kept: training them, then reading and reporting."""
    norms = plan.norms or NORMS
    seeds = 10 if plan.quick else THOUSANDS_SEEDS
    neighbours = Neighbours()
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        plan.say(f"{len(norms) * seeds} runs: training")
        found = {"train": [_measured(_normlab(norms, seeds, out, plan.epochs)[3:], folder)], "report": []}
        for number in range(1 if plan.quick else min(plan.rounds, 3)):
            plan.say(f"{len(norms) * seeds} runs: report {number + 1}")
            found["report"].append(_measured(["report", out], folder))
        page = Path(out, "report.html").stat().st_size / 1e6
        stored = sum(file.stat().st_size for file in Path(out, "runs").iterdir()) / 1e6
    return {
        "command": f"normlab run article --seeds {seeds} with {len(norms)} norms, then normlab report",
        "others": neighbours.cores(),
        "rows": {
            name: {
                "seconds": asdict(spread(one["seconds"] for one in measured)),
                "peak_mib": max(one["peak_mib"] for one in measured),
            }
            for name, measured in found.items()
        },
        "page_mb": page,
        "stored_mb": stored,
    }


def _measured(arguments: list[str], folder: str) -> dict[str, float]:
    """Seconds and peak memory of a normlab command."""
    said = _run([sys.executable, "-m", "speed.peak", *arguments], {"PYTHONPATH": str(BENCHMARKS)}, Path(folder))
    return dict(json.loads(said.splitlines()[-1]))


def _normlab(norms: tuple[str, ...], seeds: int, out: str, epochs: int | None) -> list[str]:
    chosen = [word for norm in norms for word in ("--norm", norm)]
    length = ["--epochs", str(epochs)] if epochs else []
    return [
        sys.executable,
        "-m",
        "normlab",
        "run",
        "article-once",
        *chosen,
        "--seeds",
        str(seeds),
        *length,
        "--out",
        out,
    ]


def _seconds(command: list[str], environment: dict[str, str], folder: Path) -> float:
    began = perf_counter()
    _run(command, environment, folder)
    return perf_counter() - began


def _run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"`{' '.join(command[1:4])} ...` failed: {lines[-1]}")
    return done.stdout


PROCESSES = {"growth": growth, "cold": cold, "whole": whole, "thousands": thousands}
