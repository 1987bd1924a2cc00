"""What a norm in a model holds: gamma, beta and running statistics, in whatever form it keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Values:
    """What a norm holds: gamma, beta, and its running statistics.

    Arguments:
        gamma: for each channel, or each element along its axes; None without one.
        beta: the same.
        mean: the running mean; None without one.
        variance: the running variance.
        fresh: whether the running statistics are still those of the start, which mean nothing.
    """

    gamma: Tensor | None
    beta: Tensor | None
    mean: Tensor | None
    variance: Tensor | None
    fresh: bool


def values_of(found: FoundNorm) -> Values:
    """What a norm that was found holds."""
    module, affine = found.module, found.affine
    gamma, beta = (None if value is None else _flat(value.detach(), found) for value in (found.weight, found.bias))
    if gamma is not None and affine.offset:
        gamma = gamma + affine.offset
    held = {name: _flat(value, found) for name in found.running if (value := _tensor(module, name)) is not None}
    statistics = {"mean" if "mean" in name else "variance": _of_channels(name, held[name], found) for name in held}
    fresh = bool(held) and not found.frozen and all(_is_fresh(name, value) for name, value in held.items())
    return Values(gamma, beta, statistics.get("mean"), statistics.get("variance"), fresh)


def _flat(value: Tensor, found: FoundNorm) -> Tensor:
    """One value for each channel as a vector, also where a layer keeps it in a shape that its input has."""
    return value.flatten() if value.numel() == found.channels else value


def _of_channels(name: str, value: Tensor, found: FoundNorm) -> Tensor:
    """A running mean or variance of each channel, also where a layer keeps a deviation, or one value a group."""
    if "std" in name:
        value = (value.double().square() - (found.eps or 0.0)).clamp_min(0.0).to(value.dtype)
    groups = len(value)
    if groups < found.channels and found.channels % groups == 0:
        value = value.repeat_interleave(found.channels // groups)
    return value


def _is_fresh(name: str, value: Tensor) -> bool:
    """Whether a buffer holds what it starts with: 0 for a mean, 1 for a spread."""
    return not value.is_meta and bool((value == (0 if "mean" in name else 1)).all())


def _tensor(module: nn.Module, name: str) -> Tensor | None:
    value = getattr(module, name) if name else None
    return None if value is None else value.detach()


def fitted_to(value: Tensor, shape: tuple[int, ...]) -> tuple[Tensor | None, bool]:
    """Values in another shape that starts with the same channels, and whether nothing was lost; None if there is none.

    One value a channel goes to all positions; values at positions become their mean.
    """
    if value.shape == shape:
        return value, True
    if not value.dim() or not shape or value.shape[0] != shape[0]:
        return None, False
    if value.dim() == 1:
        return value.view(-1, *[1] * (len(shape) - 1)).expand(shape), True
    if len(shape) == 1:
        flat = value.flatten(1)
        return flat.mean(1), value.is_meta or bool((flat == flat[:, :1]).all())
    return None, False


def what_of(letter: str, value: Tensor) -> str:
    """gamma or beta and how much is lost with it, in words."""
    start = 1.0 if letter == "gamma" else 0.0
    if value.is_meta:
        return f"{letter} ({value.numel()} values)"
    away = float((value.float() - start).abs().max()) if value.numel() else 0.0
    how = f"up to {away:.3g} off {start:g}" if away else f"all {start:g}"
    return f"{letter} ({value.numel()} values, {how})"
