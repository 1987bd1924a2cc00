"""All contenders of one size timed side by side, checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import prod
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn

from costs.contenders import BASE, OURS, PLAIN, SHAPES, TORCH, Contender, contenders
from costs.traffic import Traffic, count_traffic
from normlab.profiling.clock import Stopwatch, Timings, Work, interleave
from speed.machine import Neighbours
from speed.rounds import spread

EAGER, COMPILED = "eager", "compiled"
COPY, FILL, FRESH = "a copy", "a fill", "a fill of a fresh tensor"
LEAST_PASSES, LEAST_FRESH = 5, 2  # forward: x read, y written; backward: x and dy read, dx written
CPU = torch.device("cpu")


class Size:
    """The tensors of one size, one pair for each layout."""

    def __init__(self, mebibytes: float) -> None:
        self.bytes = int(mebibytes * 2**20)
        self.pairs: dict[str, tuple[Tensor, Tensor]] = {}
        generator = torch.Generator().manual_seed(0)
        for layout, sample in SHAPES.items():
            shape = (max(2, round(self.bytes / 4 / prod(sample))), *sample)
            x, dy = (torch.randn(shape, generator=generator) for _ in range(2))
            self.pairs[layout] = x.requires_grad_(), dy


def measure(
    mebibytes: float,
    names: tuple[str, ...],
    modes: Sequence[str],
    repeats: int,
    cpu_time: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Every contender of a size: milliseconds, ratios within each round, traffic, and what the time is made of."""
    size, neighbours = Size(mebibytes), Neighbours()
    rows: list[dict[str, Any]] = []
    works: dict[str, Work] = dict(_costs_of_memory(size))
    for one in _with_base(contenders(names), names):
        if one.skipped:
            rows.append(_row(one, "") | {"skipped": one.skipped})
            continue
        layer = one.make().train()
        traffic = count_traffic(layer, *size.pairs[one.layout])
        for mode in modes:
            key = f"{one.norm} {one.layout} {one.who} {mode}"
            say(f"{mebibytes:g} MiB: first call of {key}")
            try:
                called = torch.compile(layer, dynamic=False) if mode == COMPILED else layer
                work, deviation = _work(called, layer, size.pairs[one.layout]), _deviation(one, layer, called, size)
            except Exception as error:
                rows.append(_row(one, mode) | {"skipped": f"{type(error).__name__}: {str(error).splitlines()[0]}"})
                continue
            works[key] = work
            counted = traffic if mode == EAGER else None
            rows.append(_row(one, mode) | {"key": key, "deviation": deviation, "traffic": counted})
    clock = process_time if cpu_time else perf_counter
    timed = interleave(works, CPU, repeats, 1.0, lambda text: say(f"{mebibytes:g} MiB: {text}"), clock)
    return _summary(size, rows, timed) | {"mebibytes": mebibytes, "others": neighbours.cores()}


def _with_base(found: Any, names: tuple[str, ...]) -> list[Contender]:
    """The contenders, and torch's LayerNorm whatever was chosen."""
    chosen = list(found)
    if names and BASE not in names:
        chosen = [one for one in contenders((BASE,)) if one.who == TORCH] + chosen
    return chosen


def _row(one: Contender, mode: str) -> dict[str, Any]:
    return {"norm": one.norm, "layout": one.layout, "who": one.who, "mode": mode, "skipped": ""}


def _work(called: Callable[[Tensor], Tensor], layer: nn.Module, pair: tuple[Tensor, Tensor]) -> Work:
    x, dy = pair
    wanted = (x, *layer.parameters())

    def work(watch: Stopwatch) -> None:
        watch.mark()
        output = called(x)
        watch.mark()
        gradients = torch.autograd.grad(output, wanted, dy, allow_unused=True)
        watch.mark()
        del output, gradients

    work(Stopwatch(CPU))
    return work


def _deviation(one: Contender, theirs: nn.Module, called: Callable[[Tensor], Tensor], size: Size) -> float:
    """How far the output and all gradients are from those of our eager layer, each against its largest value.

    Or against the size that chance gives to a sum of so many elements, where that is larger: terms may cancel.
    """
    x, dy = size.pairs[one.layout]
    ours, results = one.ours().train(), []
    names = [name for name, _ in ours.named_parameters()]
    for layer, call in ((ours, ours), (theirs, called)):
        output = call(x)
        learned = dict(layer.named_parameters())
        wanted = [x, *(learned[name] for name in names if name in learned)]
        results.append([output.detach(), *torch.autograd.grad(output, wanted, dy)])
    return max(_apart(truth, found, x.numel()) for truth, found in zip(*results, strict=True))


def _apart(truth: Tensor, found: Tensor, elements: int) -> float:
    by_chance = (elements / truth.numel()) ** 0.5 if truth.numel() < elements else 0.0
    return float((found - truth).abs().max()) / max(float(truth.abs().max()), by_chance)


def _costs_of_memory(size: Size) -> Mapping[str, Work]:
    """A copy and a fill of memory that is there, and of memory that is allocated for it."""
    source = size.pairs["NLC"][1]
    target = torch.zeros_like(source)

    def timed(action: Callable[[], object]) -> Work:
        def work(watch: Stopwatch) -> None:
            action()  # memory that was not used for long may have been taken away
            watch.mark()
            kept = action()
            watch.mark()
            del kept

        return work

    return {
        COPY: timed(lambda: target.copy_(source)),
        FILL: timed(lambda: target.fill_(0.0)),
        FRESH: timed(lambda: torch.empty_like(source).fill_(0.0)),
    }


def _summary(size: Size, rows: list[dict[str, Any]], timed: Mapping[str, Timings]) -> dict[str, Any]:
    memory = {key: spread(1e3 * value for value in timed[key].totals()).median for key in (COPY, FILL, FRESH)}
    one_pass, one_fresh = memory[COPY] / 2, max(0.0, memory[FRESH] - memory[FILL])
    bases = [row["key"] for row in rows if row["norm"] == BASE and row["who"] == TORCH and "key" in row]
    base = min(bases, key=lambda key: spread(timed[key].totals()).median)
    plain = {(row["norm"], row["layout"], row["mode"]): row["key"] for row in rows if row["who"] == PLAIN}
    for row in rows:
        if "key" not in row:
            continue
        found = timed[row.pop("key")]
        whole = spread(1e3 * value for value in found.totals())
        row |= {
            "milliseconds": asdict(whole),
            "forward": spread(1e3 * value for value in found.phase(0)).median,
            "backward": spread(1e3 * value for value in found.phase(1)).median,
            "over_layer": asdict(_ratio(found, timed[base])),
            "rounds": [1e3 * value for value in found.totals()],
        }
        other = plain.get((row["norm"], row["layout"], row["mode"]))
        if row["who"] == OURS and other:
            row["over_composition"] = asdict(_ratio(found, timed[other]))
        row |= _made_of(row.pop("traffic"), whole.median, one_pass, one_fresh)
    return {
        "rows": rows,
        "base": base,
        "base_ms": 1e3 * spread(timed[base].totals()).median,
        "copy_ms": memory[COPY],
        "fresh_ms": one_fresh,
        "floor_ms": LEAST_PASSES * one_pass,
        "fresh_floor_ms": LEAST_PASSES * one_pass + LEAST_FRESH * one_fresh,
        "shapes": {layout: list(pair[0].shape) for layout, pair in size.pairs.items()},
    }


def _ratio(found: Timings, base: Timings) -> Any:
    return spread(own / other for own, other in zip(found.totals(), base.totals(), strict=True))


def _made_of(traffic: Traffic | None, whole: float, one_pass: float, one_fresh: float) -> dict[str, Any]:
    """Allocation, passes at the speed of a copy, and the rest; a compiled layer is taken to need the least."""
    passes = traffic.passes if traffic else LEAST_PASSES
    fresh = traffic.fresh if traffic else LEAST_FRESH
    parts = {"allocation": fresh * one_fresh, "passes": passes * one_pass}
    counted = {"passes": passes, "fresh": fresh} if traffic else None
    return {"counted": counted, "made_of": parts | {"rest": whole - sum(parts.values())}}
