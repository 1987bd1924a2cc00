"""The layers that are timed: ours, torch's own, the simplest composition of torch's operations, timm's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from costs.compositions import Composition, composition
from costs.libraries import of_timm, of_torch, why_no_timm
from normlab.norms.catalog import NORMS, parse
from normlab.norms.modules.weights import StandardizedWeight
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm

OURS, TORCH, PLAIN, TIMM = "normlab", "torch's own", "composition", "timm"
BASE = "layer"  # torch's LayerNorm is what the others are compared with
TARGETS = ("rms", "group", "batch", "instance", "dyt")
SHAPES: Mapping[Layout, tuple[int, ...]] = {"NLC": (512, 512), "NCHW": (128, 32, 32)}  # one sample
STANDARDIZED = "standardized"  # the tensor is the weight of a convolution then


@dataclass(frozen=True)
class Contender:
    """One layer for tensors of a layout, or the reason why there is none.

    Attributes:
        ours: makes normlab's layer, whose results this one's are compared with.
    """

    norm: str
    layout: Layout
    who: str
    make: Callable[[], nn.Module]
    ours: Callable[[], nn.Module]
    skipped: str = ""


def slot_of(layout: Layout) -> Slot:
    """The slot that every layer of a layout is made for."""
    sample = SHAPES[layout]
    channels = sample[-1] if layout == "NLC" else sample[0]
    extent = sample[:-1] if layout == "NLC" else sample[1:]
    return Slot(channels, layout, extent, "layer", "activation")


def contenders(names: tuple[str, ...]) -> Iterator[Contender]:
    """All of the norms ``names``, or of the whole catalogue.

    Of norms of weights only standardization is there: the others are torch's own parametrizations.
    """
    for spec in NORMS:
        if spec.name == "none" or (names and spec.name not in names):
            continue
        if spec.name == STANDARDIZED:
            yield from _of(parse(spec.name), "NCHW", StandardizedWeight)
        if spec.wrap:
            continue
        for layout in SHAPES:
            norm = parse(spec.name)
            if layout in spec.axes and norm.refusal(slot_of(layout), 2) is None:
                yield from _of(norm, layout, _builder(norm, layout))


def _builder(norm: Norm, layout: Layout) -> Callable[[], nn.Module]:
    return lambda: norm.build(slot_of(layout))


def _of(norm: Norm, layout: Layout, ours: Callable[[], nn.Module]) -> Iterator[Contender]:
    slot, name = slot_of(layout), norm.spec.name
    formula = composition(norm, slot)
    made = {
        OURS: ours,
        TORCH: of_torch(name, slot),
        PLAIN: lambda: Composition(formula, ours()),
        TIMM: of_timm(name, slot),
    }
    for who, make in made.items():
        if make:
            yield Contender(name, layout, who, make, ours, why_no_timm() if who == TIMM else "")
