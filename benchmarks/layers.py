"""What layers cost, side by side: ours, torch's own, the simplest composition, timm's (see README.md here).

python3 dev.py bench layers                          64 MiB and 2 MiB, eager and compiled: ten minutes on two cores
python3 dev.py bench layers --norm rms --norm dyt    some norms; torch's LayerNorm always takes part
python3 dev.py bench layers --quick                  small tensors, two rounds: to see that it works; kept nowhere
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from costs.contenders import TIMM
from costs.measure import COMPILED, EAGER, measure
from costs.report import WRONG, draw, markdown, tables
from normlab.errors import InputError
from normlab.norms.catalog import parse
from normlab.profiling.clock import compiled_apart
from normlab.profiling.machine import large_pages
from speed.machine import describe_machine, machine_name
from speed.report import show_table

RESULTS = Path(__file__).parent / "results"
SCHEMA = 1
WIDTH = 170  # of tables that go to a file
SIZES = (64.0, 2.0)


def main(arguments: Sequence[str]) -> int:
    """Measures, shows and keeps; 1 if a contender's results are not those of ours, or one could not be run."""
    given = _parse(arguments)
    progress = Console(stderr=True)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    before = torch.get_num_threads()
    if given.threads or given.cpu_time:
        torch.set_num_threads(given.threads or 1)
    try:
        result = _measure(given, lambda text: progress.print(text, style="dim", highlight=False))
    finally:
        torch.set_num_threads(before)
    for table in tables(result):
        show_table(table, console)
    path = _path(given, result)
    if path:
        _keep(result, path)
        console.print(f"Kept in {path}.json, .md and .png", highlight=False)
    rows = [row for size in result["sizes"] for row in size["rows"]]
    failed = any(row["skipped"] for row in rows if row["who"] != TIMM)
    wrong = any(row["deviation"] > WRONG for row in rows if not row["skipped"])
    return 1 if failed or wrong else 0


def _measure(given: argparse.Namespace, say: Any) -> dict[str, Any]:
    modes = [mode for mode in (EAGER, COMPILED) if mode not in given.skip]
    repeats = 2 if given.quick else given.rounds
    sizes = (0.25,) if given.quick else tuple(given.size or SIZES)
    with compiled_apart() if COMPILED in modes else nullcontext():
        found = [measure(size, tuple(given.norm or ()), modes, repeats, given.cpu_time, say) for size in sizes]
    return {
        "schema": SCHEMA,
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "large_pages": large_pages(),
        "clock": "processor time" if given.cpu_time else "wall time",
        "command_line": _command(given),
        "sizes": found,
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py bench layers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--norm", action="append", type=_norm, help="repeat it; the whole catalogue by default")
    parser.add_argument("--size", action="append", type=_positive, metavar="MIB", help="repeat it (64 and 2)")
    parser.add_argument("--rounds", type=_count, default=9, help="rounds, each over all contenders (9)")
    parser.add_argument("--skip", action="append", default=[], choices=[EAGER, COMPILED], help="leave out a mode")
    parser.add_argument("--threads", type=_count, help="torch's threads; its own number by default")
    parser.add_argument(
        "--cpu-time", action="store_true", help="processor time on one thread: less disturbed by busy neighbours"
    )
    parser.add_argument("--quick", action="store_true", help="small and short: not to be quoted")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to keep results, instead of benchmarks/results")
    return parser.parse_args(arguments)


def _norm(text: str) -> str:
    try:
        return parse(text).spec.name
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 2**14:
        raise argparse.ArgumentTypeError("must be above 0 and at most 16384")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _command(given: argparse.Namespace) -> str:
    """How to repeat it; where results were kept is no part of that."""
    words = [f" --norm {name}" for name in given.norm or []] + [f" --size {size:g}" for size in given.size or []]
    words += [f" --skip {mode}" for mode in given.skip] + [f" --rounds {given.rounds}"]
    words += [f" --threads {given.threads}"] if given.threads else []
    words += [" --cpu-time"] if given.cpu_time else []
    return f"python3 dev.py bench layers{''.join(words)}{' --quick' if given.quick else ''}"


def _path(given: argparse.Namespace, result: dict[str, Any]) -> Path | None:
    """Where results are kept by default; quick ones are not."""
    if given.out:
        return Path(given.out).with_suffix("") if given.out.suffix in (".json", ".md", ".png") else Path(given.out)
    return None if given.quick else RESULTS / f"{result['date']}-layers-{machine_name(result['machine'])}"


def _keep(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Path(f"{path}.png")
    draw(result, picture)
    Path(f"{path}.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    Path(f"{path}.md").write_text(markdown(result, picture.name), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
