"""The affine map of each channel that a norm is in evaluation mode, for slots in which nothing else is left of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.catalog import BY_NAME
from normlab.norms.none import build_bias
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.recognition.spec import FoundNorm
from normlab.surgery.placing import settle, tensors
from normlab.surgery.values import Values, fitted_to, what_of

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class AffineMap:
    """The layer for the affine map that a norm is, what was done, and what was lost."""

    layer: nn.Module
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def affine_map(found: FoundNorm, layer: nn.Module, values: Values, norm: Norm, slot: Slot) -> AffineMap:
    """The affine map that a norm is in evaluation mode; the layer as given where that map is the identity."""
    import torch

    if any(tensor.is_meta for tensor in tensors(found.module)):
        return AffineMap(layer)
    notes = []
    scale, shift, lost = _affine_map(values, slot.channels)
    statistics = [value for value in (values.mean, values.variance) if value is not None]
    if any(len(value) != slot.channels for value in statistics):
        lost = (*lost, "running statistics, which are not of channels")
    elif statistics and not values.fresh:
        if values.variance is not None:
            scale = scale * torch.rsqrt(values.variance.double() + (found.eps or 0.0))
        if values.mean is not None:
            shift = shift - values.mean.double() * scale
        alone = len(BY_NAME[found.kind].sets(slot.layout)) == 1
        how = "exact in evaluation mode" if alone else "it mixed them with those of each sample, which are lost"
        notes.append(f"running statistics folded into gamma and beta: {how}")
    is_kept = bool((scale == 1).all()) and (norm.spec.build is build_bias or not bool(shift.any()))
    if not is_kept:
        layer = norms.ScaleShift(slot.channels, -1 if slot.layout == "NLC" else 1).to(scale.device)
        notes.append("gamma and beta are kept as an affine map")
    with torch.no_grad():
        for name, value in (("weight", scale), ("bias", shift)):
            if isinstance(holder := getattr(layer, name, None), torch.Tensor):
                holder.copy_(value)
    settle(layer, found.module)
    return AffineMap(layer, tuple(notes), lost)


def _affine_map(values: Values, channels: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """gamma and beta of each channel, in double precision, and what is lost where they differ between positions."""
    import torch

    device = next((value.device for value in vars(values).values() if isinstance(value, torch.Tensor)), None)
    made = [torch.full((channels,), start, dtype=torch.float64, device=device) for start in (1.0, 0.0)]
    lost = []
    for place, (letter, value) in enumerate((("gamma", values.gamma), ("beta", values.beta))):
        if value is None:
            continue
        fitted, exact = fitted_to(value, (channels,))
        if fitted is not None and exact:
            made[place] = fitted.double()
        else:
            lost.append(what_of(letter, value))
    return made[0], made[1], tuple(lost)
