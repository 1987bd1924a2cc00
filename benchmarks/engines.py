"""Speed and memory of normlab's engines against other ways of doing the same job (see README.md here).

python3 dev.py bench engines                  every part, about half an hour on two cores
python3 dev.py bench engines --part article   one part
python3 dev.py bench engines --quick          every part in a few steps, to see that it works
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from speed.job import Unavailable
from speed.machine import describe_machine, machine_name
from speed.picture import draw
from speed.processes import PROCESSES
from speed.report import markdown, show
from speed.training import NORMS, TRAINING, Plan

RESULTS = Path(__file__).parent / "results"
PARTS = (*TRAINING, *PROCESSES)
SCHEMA = 1
WIDTH = 150  # of tables that go to a file


def main(arguments: Sequence[str]) -> int:
    """Runs the chosen parts, shows and keeps what they found; 1 if a contender's losses are not the oracle's."""
    given = _parse(arguments)
    progress = Console(stderr=True)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    plan = Plan(
        norms=tuple(given.norm or ()),
        replicas=given.replicas,
        epochs=given.epochs,
        rounds=min(given.rounds, 2) if given.quick else given.rounds,
        skip=tuple(given.skip),
        quick=given.quick,
        say=lambda text: progress.print(text, style="dim", highlight=False),
    )
    machine = describe_machine()
    today = date.today().isoformat()
    path = _without_suffix(given.out) if given.out else _kept(today, machine, given.quick)
    result: dict[str, Any] = {"schema": SCHEMA, "date": today, "machine": machine, "parts": _earlier(path, machine)}
    shown = result | {"parts": {}}
    for name in _chosen(given.part):
        found = _run(name, plan) | {"command_line": _command(name, given)}
        result["parts"][name] = shown["parts"][name] = found
        if path:
            _keep(result, path)
    show(shown, console)
    if path:
        console.print(f"Kept in {path}.json and .md", highlight=False)
    return 1 if _wrong(shown) else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py bench engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=[*PARTS, "all"], help="repeat it; all by default")
    parser.add_argument("--norm", action="append", help=f"repeat it; by default {', '.join(NORMS)}, where they fit")
    parser.add_argument("--replicas", type=_positive, default=64, help="replicas trained together (64)")
    parser.add_argument("--epochs", type=_positive, help="passes over the data; each part has its own by default")
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds, each over all contenders (5)")
    parser.add_argument("--skip", action="append", default=[], metavar="ROW", help="leave out a row, such as jax")
    parser.add_argument("--quick", action="store_true", help="few steps: to see that it works, not to be quoted")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to keep results, instead of benchmarks/results")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _chosen(parts: list[str] | None) -> Sequence[str]:
    return PARTS if not parts or "all" in parts else [name for name in PARTS if name in parts]


def _run(name: str, plan: Plan) -> dict[str, Any]:
    try:
        return TRAINING[name].run(plan) if name in TRAINING else PROCESSES[name](plan)
    except Unavailable as reason:
        return {"skipped": str(reason)}


def _command(part: str, given: argparse.Namespace) -> str:
    """How to repeat a part; where its results were kept is no part of that."""
    options = {"norm": given.norm or [], "replicas": [given.replicas], "rounds": [given.rounds], "skip": given.skip}
    if given.epochs:
        options["epochs"] = [given.epochs]
    words = [f" --{name} {value}" for name, values in options.items() for value in values]
    return f"python3 dev.py bench engines --part {part}{''.join(words)}{' --quick' if given.quick else ''}"


def _kept(today: str, machine: dict[str, Any], quick: bool) -> Path | None:
    """Where results are kept by default; quick ones are not."""
    return None if quick else RESULTS / f"{today}-{machine_name(machine)}"


def _without_suffix(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".json", ".md", ".png") else path


def _earlier(path: Path | None, machine: dict[str, Any]) -> dict[str, Any]:
    """The other parts, if they were measured on the same day, machine and versions."""
    file = Path(f"{path}.json")
    if path is None or not file.exists():
        return {}
    earlier = json.loads(file.read_text(encoding="utf-8"))
    return dict(earlier["parts"]) if earlier["machine"] == machine else {}


def _keep(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = result | {"parts": {name: result["parts"][name] for name in PARTS if name in result["parts"]}}
    picture = Path(f"{path}.png")
    drawn = draw(ordered, picture)
    Path(f"{path}.json").write_text(json.dumps(ordered, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    Path(f"{path}.md").write_text(markdown(ordered, picture.name if drawn else None), encoding="utf-8")


def _wrong(result: dict[str, Any]) -> bool:
    found = [norm for part in result["parts"].values() for norm in part.get("norms", {}).values() if "rows" in norm]
    return any(not row["agrees"] for norm in found for row in norm["rows"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
