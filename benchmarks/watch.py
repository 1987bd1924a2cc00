"""What `normlab.watch` costs: steps of a training with it and without, in turns.

python3 dev.py bench watch              a ResNet and a transformer: two minutes on one core
python3 dev.py bench watch --quick      a few steps, to see that it works; kept nowhere
python3 dev.py bench watch --device cuda   the same on a GPU, with 16 times the batch, by the clock
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from normlab.engine.model import one_thread
from normlab.profiling.spec import Spread
from normlab.watching.watch import EVERY, watch
from speed.machine import describe_machine, machine_name

RESULTS = Path(__file__).parent / "results"
SCHEMA = 1
SAMPLED = 10  # steps of a round, of which one is sampled


class Block(nn.Module):
    """The basic block of He, Zhang, Ren, Sun 2015, arXiv:1512.03385."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        project = stride != 1 or inputs != outputs
        shortcut = (nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)) if project else ()
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def resnet() -> tuple[nn.Module, Tensor]:
    """ResNet-18 for small images: 20 BatchNorms, 11 million parameters; 16 images of 32 x 32."""
    parts: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    widths = (64, 64, 128, 256, 512)
    for inputs, outputs in pairwise(widths):
        parts += [Block(inputs, outputs, 1 if outputs == 64 else 2), Block(outputs, outputs, 1)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)), torch.randn(16, 3, 32, 32)


def transformer() -> tuple[nn.Module, Tensor]:
    """Six encoder layers of width 256 with 13 LayerNorms, 5 million parameters; 8 sequences of 64."""
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 6, norm=nn.LayerNorm(256), enable_nested_tensor=False)
    return nn.Sequential(encoder, nn.Linear(256, 32)), torch.randn(8, 64, 256)


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {"ResNet-18": resnet, "transformer": transformer}


def main(arguments: Sequence[str]) -> int:
    """Measures, shows and keeps."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench watch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help=f"rounds of {SAMPLED} steps of each contender (15)")
    parser.add_argument("--quick", action="store_true", help="few steps; kept nowhere")
    parser.add_argument("--device", default="cpu", help="cpu, or a GPU such as cuda")
    given = parser.parse_args(arguments)
    rounds = 2 if given.quick else given.rounds
    with one_thread():
        models = {name: _costs(build, rounds, given.device) for name, build in MODELS.items()}
    result = {
        "schema": SCHEMA,
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "clock": "processor time on one thread" if given.device == "cpu" else "wall time until the GPU has finished",
        "device": given.device if given.device == "cpu" else torch.cuda.get_device_name(given.device),
        "every": EVERY,
        "rounds": rounds,
        "models": {name: {what: asdict(spread) for what, spread in costs.items()} for name, costs in models.items()},
    }
    console = Console(width=120)
    console.print(_table(models))
    if not given.quick:
        path = RESULTS / f"{result['date']}-watch-{_place(given.device)}.json"
        path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        console.print(f"Kept in {path.name}", highlight=False)
    return 0


def _place(device: str) -> str:
    """The machine, or the GPU, in a file's name."""
    name = machine_name(describe_machine()) if device == "cpu" else torch.cuda.get_device_name(device)
    return name.lower().replace(" ", "-")


def _costs(build: Callable[[], tuple[nn.Module, Tensor]], rounds: int, device: str) -> dict[str, Spread]:
    """Seconds of a step, and what others take over that, one ratio for each round.

    Two plain copies of the model and a watched one take turns step by step. A ratio is of medians within a round; of
    the sampled step, with the plain step beside it. ``watched`` spreads that step over the default interval.
    """
    torch.manual_seed(0)
    model, x = build()
    if device != "cpu":
        model, x = model.to(device), x.repeat(16, *[1] * (x.dim() - 1)).to(device)
    plain, again, watched = (_Training(deepcopy(model), x) for _ in range(3))
    seconds: list[float] = []
    ratios: dict[str, list[float]] = {"again": [], "between": [], "sampled": [], "watched": []}
    with watch(watched.model, watched.optimizer, every=SAMPLED, on_finding=lambda finding: None):
        for number in range(rounds + 2):
            times = [(plain.step(), watched.step(), again.step()) for _ in range(SAMPLED)]
            if number < 2:  # samples are taken at further steps in the beginning
                continue
            base = median(one[0] for one in times[:-1])
            between = median(one[1] for one in times[:-1]) / base
            sampled = times[-1][1] / times[-1][0]
            seconds.append(base)
            ratios["again"].append(median(one[2] for one in times[:-1]) / base)
            ratios["between"].append(between)
            ratios["sampled"].append(sampled)
            ratios["watched"].append((between * (EVERY - 1) + sampled) / EVERY)
    return {"seconds": Spread.of(seconds), **{name: Spread.of(values) for name, values in ratios.items()}}


class _Training:
    """A model that trains on one batch."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model, self.x = model, x
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(self) -> float:
        """Seconds of a step: of the processor, or on a GPU until it has finished."""
        began = self._now()
        self.optimizer.zero_grad()
        self.model(self.x).square().mean().backward()
        self.optimizer.step()
        return self._now() - began

    def _now(self) -> float:
        if not self.x.is_cuda:
            return process_time()
        torch.cuda.synchronize()
        return perf_counter()


def _table(models: dict[str, dict[str, Spread]]) -> Table:
    table = Table("model", "ms a step", "the same again", "between samples", "sampled step", f"every {EVERY} steps")
    for name, costs in models.items():
        step = costs["seconds"]
        others = (_percent(one) for what, one in costs.items() if what != "seconds")
        table.add_row(name, f"{1e3 * step.median:.0f} ({1e3 * step.low:.0f}-{1e3 * step.high:.0f})", *others)
    return table


def _percent(ratio: Spread) -> str:
    middle, low, high = (100 * (value - 1) for value in (ratio.median, ratio.low, ratio.high))
    return f"{middle:+.1f}% ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
