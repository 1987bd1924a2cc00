"""Two versions of normlab side by side on one machine: engines, the whole command, growing a folder, large reports.

python3 benchmarks/editions.py --old FOLDER                     FOLDER: the older version's working tree
python3 benchmarks/editions.py --old FOLDER --part command      one part: engines, command, report; repeat it
python3 benchmarks/editions.py --part grow                      a folder that grows, of this version alone

Both versions take turns, in an order that changes each round. A ratio is new over old within a round, then the median
with quartiles, of wall clock and of processor time: the second hardly minds what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONTENDER = Path(__file__).parent / "speed" / "contender.py"
COPIES = CONTENDER.with_name("copies.py")
KINDS = ("wall", "cpu")
ROWS = [  # key, task, norm, replicas, epochs
    *(
        (key, "article", norm, 64, 50)
        for norm in ("batch", "layer", "group:groups=10")
        for key in ("fused-alone", "fused")
    ),
    *((key, "digits-cnn", norm, 16, 1) for norm in ("batch", "group:groups=8") for key in ("stacked-alone", "stacked")),
]
SEEDS, STORED, TRAINED = 30, 3334, 32

Times = Mapping[str, float]
Turn = Callable[[], Times]


def main(arguments: Sequence[str]) -> int:
    """Measures the chosen parts and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, metavar="FOLDER", help="working tree of the older version")
    parser.add_argument("--part", action="append", choices=[*PARTS, *ALONE], help="repeat it; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each pair (5)")
    parser.add_argument("--row", help="only rows of engines whose name holds this")
    parser.add_argument("--seeds", type=int, help="seeds of whole commands, and of stored runs")
    options = parser.parse_args(arguments)
    if options.old is None and set(options.part or PARTS) & set(PARTS):
        parser.error("--old is needed to compare with")
    for name in options.part or [*PARTS, *ALONE]:
        print(f"# {name}", flush=True)
        PARTS[name](options) if name in PARTS else ALONE[name](options)
    return 0


def compare_engines(options: argparse.Namespace) -> None:
    """Training as the benchmark of engines times it, each version in a process that stays."""
    for row in ROWS:
        name = " ".join(map(str, row))
        if options.row and options.row not in name:
            continue
        with ExitStack() as stack:
            turns = [stack.enter_context(Contender(root, row)).train for root in (options.old.resolve(), ROOT)]
            _take_turns(name, turns, options.rounds, warm_ups=1)


def compare_commands(options: argparse.Namespace) -> None:
    """`normlab run` with caches that are warm, each time into a new folder."""
    seeds = options.seeds or SEEDS
    for command in (
        ["run", "article-once", "--seeds", str(seeds)],
        ["run", "article", "--seeds", "1", "--epochs", "1"],
    ):

        def turn(root: Path, command: list[str] = command) -> Times:
            with tempfile.TemporaryDirectory() as folder:
                return normlab(root, *command, "--out", f"{folder}/out")

        turns = [lambda root=root: turn(root) for root in (options.old.resolve(), ROOT)]
        _take_turns(f"normlab {' '.join(command)}", turns, options.rounds, warm_ups=1)


def compare_reports(options: argparse.Namespace) -> None:
    """`normlab report` of ten thousand stored runs, copies of a hundred, with its peak memory."""
    seeds = options.seeds or STORED
    norms = [word for norm in ("batch", "layer", "group:groups=10") for word in ("--norm", norm)]
    with tempfile.TemporaryDirectory() as folder:
        roots = {f"{folder}/old": options.old.resolve(), f"{folder}/new": ROOT}
        for out, root in roots.items():
            normlab(root, "run", "article-once", *norms, "--seeds", str(TRAINED), "--out", out)
            subprocess.run([sys.executable, str(COPIES), out, str(seeds)], env=_environment(root), check=True)
        turns = [lambda out=out, root=root: normlab(root, "report", out) for out, root in roots.items()]
        _take_turns(f"normlab report, {3 * seeds} runs", turns, options.rounds)


def measure_growth(options: argparse.Namespace) -> None:
    """Seeds, twice as many into the same folder, then another level of the tests."""
    seeds = options.seeds or SEEDS
    steps = {
        f"run article --seeds {seeds}": [f"--seeds={seeds}"],
        f"then --seeds {2 * seeds}": [f"--seeds={2 * seeds}"],
        "then --set analysis.alpha=0.01": [f"--seeds={2 * seeds}", "--set", "analysis.alpha=0.01"],
    }
    times: dict[str, list[Times]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, words in steps.items():
                times[name].append(normlab(ROOT, "run", "article-once", *words, "--out", f"{folder}/out"))
    for name, taken in times.items():
        print(f"{name}: " + "; ".join(f"{kind} {_spread(one[kind] for one in taken)}" for kind in KINDS))


PARTS = {"engines": compare_engines, "command": compare_commands, "report": compare_reports}
ALONE = {"grow": measure_growth}


def _take_turns(name: str, turns: Sequence[Callable[[], Times]], rounds: int, warm_ups: int = 0) -> None:
    """Old and new one after the other, and what they took."""
    times: list[list[Times]] = [[], []]
    for number in range(-warm_ups, rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            taken = turns[which]()
            if number >= 0:
                times[which].append(taken)
    print(name)
    for kind in times[0][0]:
        old, new = ([one[kind] for one in some] for some in times)
        ratio = _spread(b / a for a, b in zip(old, new, strict=True))
        print(f"  {kind:4}  old {_spread(old)}  new {_spread(new)}  new/old {ratio}", flush=True)


class Contender:
    """A row of the benchmark of engines, by the version in ``root``, in a process that stays."""

    def __init__(self, root: Path, row: tuple[Any, ...]) -> None:
        command = [sys.executable, str(CONTENDER), *map(str, row)]
        self._process = subprocess.Popen(
            command, env=_environment(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Contender:
        self._answer()  # the first call, with all that is loaded or compiled
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def train(self) -> Times:
        """What one training took."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Times:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))


def normlab(root: Path, *words: str) -> Times:
    """What a normlab command of the version in ``root`` took, and its peak memory in MiB."""
    began = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "normlab", *words],
        env=_environment(root),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"normlab {' '.join(words)} failed:\n{said}")
    return {"wall": perf_counter() - began, "cpu": used.ru_utime + used.ru_stime, "MiB": used.ru_maxrss / 1024}


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'benchmarks'}"}


def _spread(values: Iterable[float], digits: int = 3) -> str:
    """The median with the quartiles, without packages: this process is to stay small, as peaks begin with its own."""
    several = list(values)
    low, middle, high = quantiles(several, n=4, method="inclusive") if len(several) > 1 else several * 3
    return f"{middle:.{digits}g} ({low:.{digits}g} to {high:.{digits}g})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
