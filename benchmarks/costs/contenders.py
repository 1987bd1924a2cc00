"""The layers that are timed: ours, torch's own, the simplest composition of torch's operations, timm's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normlab.norms.catalog import NORMS, parse
from normlab.norms.spec import Norm
from normlab.records import Layout, Slot

OURS, TORCH, PLAIN, TIMM = "normlab", "torch's own", "composition", "timm"
BASE = "layer"  # torch's LayerNorm is what the others are compared with
TARGETS = ("rms", "group", "batch", "instance", "dyt")
SHAPES: Mapping[Layout, tuple[int, ...]] = {"NLC": (512, 512), "NCHW": (128, 32, 32)}  # one sample


@dataclass(frozen=True)
class Contender:
    """One layer for tensors of a layout, or the reason why there is none."""

    norm: str
    layout: Layout
    who: str
    make: Callable[[], nn.Module]
    skipped: str = ""


def slot_of(layout: Layout) -> Slot:
    """The slot that every layer of a layout is made for."""
    sample = SHAPES[layout]
    channels = sample[-1] if layout == "NLC" else sample[0]
    extent = sample[:-1] if layout == "NLC" else sample[1:]
    return Slot(channels, layout, extent, "layer", "activation")


def contenders(names: tuple[str, ...]) -> Iterator[Contender]:
    """All of the norms ``names``, or of the whole catalogue: norms of activations with something to compute."""
    for spec in NORMS:
        if spec.wrap or spec.name == "none" or (names and spec.name not in names):
            continue
        for layout in SHAPES:
            norm = parse(spec.name)
            if layout in spec.axes and norm.refusal(slot_of(layout), 2) is None:
                yield from _of(norm, layout)


def _of(norm: Norm, layout: Layout) -> Iterator[Contender]:
    slot, name = slot_of(layout), norm.spec.name
    yield Contender(name, layout, OURS, lambda: norm.build(slot))
    own = _torch(slot).get(name)
    if own:
        yield Contender(name, layout, TORCH, own)
    plain = _composition(norm, slot)
    if plain:
        yield Contender(name, layout, PLAIN, plain)
    theirs = _TIMM.get((name, layout))
    if theirs:
        reason = _why_no_timm()
        yield Contender(name, layout, TIMM, lambda: _timm(theirs, slot), reason)


def _torch(slot: Slot) -> Mapping[str, Callable[[], nn.Module]]:
    c = slot.channels
    if slot.layout == "NLC":
        return {"layer": lambda: nn.LayerNorm(c), "rms": lambda: nn.RMSNorm(c)}
    return {
        "batch": lambda: nn.BatchNorm2d(c),
        "group": lambda: nn.GroupNorm(32, c),
        "instance": lambda: nn.InstanceNorm2d(c),
        "layer-chw": lambda: nn.LayerNorm((c, *slot.extent)),
    }


# timm's classes by name, each with the arguments behind the number of channels.
_TIMM: Mapping[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("layer", "NLC"): ("LayerNorm", {"eps": 1e-5}),
    ("rms", "NLC"): ("RmsNorm", {"eps": torch.finfo(torch.float32).eps}),
    ("rms", "NCHW"): ("RmsNorm2d", {"eps": torch.finfo(torch.float32).eps}),
    ("layer2d", "NCHW"): ("LayerNorm2d", {"eps": 1e-5}),
    ("group", "NCHW"): ("GroupNorm", {"num_groups": 32}),
    ("batch", "NCHW"): ("BatchNormAct2d", {"apply_act": False}),
    ("evonorm-b0", "NCHW"): ("EvoNorm2dB0", {}),
    ("evonorm-s0", "NCHW"): ("EvoNorm2dS0", {}),
    ("frn", "NCHW"): ("FilterResponseNormTlu2d", {}),
}


def _why_no_timm() -> str:
    try:
        import timm.layers  # noqa: F401
    except Exception as error:
        return f"timm cannot be imported ({type(error).__name__}: {str(error).splitlines()[0]})"
    return ""


def _timm(theirs: tuple[str, dict[str, Any]], slot: Slot) -> nn.Module:
    import timm.layers

    name, options = theirs
    made: nn.Module = vars(timm.layers)[name](slot.channels, **options)
    return made


class _Plain(nn.Module):
    """A formula of the input and of the parameters of our layer, which it has too."""

    def __init__(self, formula: Callable[..., Tensor], ours: nn.Module) -> None:
        super().__init__()
        self.formula = formula
        for name, value in ours.named_parameters():
            self.register_parameter(name, nn.Parameter(value.detach().clone()))

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x, **dict(self.named_parameters()))


def _composition(norm: Norm, slot: Slot) -> Callable[[], nn.Module] | None:
    """The norm's formula as one would write it down."""
    axis = -1 if slot.layout == "NLC" else 1
    trailing = (1,) * (0 if axis == -1 else len(slot.extent))
    eps = float(norm.options.get("eps", 0.0)) or torch.finfo(torch.float32).eps
    special: dict[str, Callable[..., Tensor]] = {
        "dyt": lambda x, alpha, weight, bias: (
            weight.view(-1, *trailing) * torch.tanh(alpha * x) + bias.view(-1, *trailing)
        ),
        "derf": lambda x, alpha, shift, weight, bias: (
            weight.view(-1, *trailing) * torch.erf(alpha * x + shift) + bias.view(-1, *trailing)
        ),
        "rms": lambda x, weight: weight.view(-1, *trailing) * x * torch.rsqrt(x.pow(2).mean(axis, keepdim=True) + eps),
        "scale": lambda x, weight: weight * x / x.norm(dim=axis, keepdim=True).clamp_min(eps),
        "unit": lambda x: x / x.norm(dim=axis, keepdim=True).clamp_min(eps),
        "bias": lambda x, bias: x + bias.view(-1, *trailing),
    }
    formula = special.get(norm.spec.name) or _standardized(norm, slot, trailing, eps)
    return (lambda: _Plain(formula, norm.build(slot))) if formula else None


def _standardized(norm: Norm, slot: Slot, trailing: tuple[int, ...], eps: float) -> Callable[..., Tensor] | None:
    """gamma (x - mean) / sqrt(variance + eps) + beta over the axes that the catalogue declares."""
    spec, layout = norm.spec, slot.layout
    if not (spec.centred and spec.scaled) or spec.activates or len(spec.sets(layout)) != 1:
        return None
    if spec.name not in ("batch", "layer", "group", "instance", "layer2d", "layer-chw", "pono"):
        return None
    axes = spec.axes[layout]
    groups = int(norm.options["groups"]) if "C/G" in axes else None
    places = tuple(layout.index(letter) for letter in layout if letter in axes)

    def formula(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        y = x.view(x.shape[0], groups, -1) if groups else x
        over = (2,) if groups else places
        mean = y.mean(over, keepdim=True)
        variance = y.var(over, unbiased=False, keepdim=True)
        y = ((y - mean) / torch.sqrt(variance + eps)).view(x.shape)
        if weight is not None and bias is not None:
            shape = (-1, *trailing) if weight.dim() == 1 else weight.shape
            y = y * weight.view(shape) + bias.view(shape)
        return y

    return formula
