"""What a new layer takes over from the one that it replaces, and what is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.none import build_bias, build_none
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.recognition.find import recognize
from normlab.recognition.spec import Affine, FoundNorm
from normlab.surgery.placing import tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

_PLAIN = Affine("weight", "bias")


@dataclass(frozen=True)
class Carried:
    """A new layer with what it took over.

    Arguments:
        layer: the layer; another one than was given where the old one is folded into an affine map.
        notes: what was done to keep values.
        lost: what has no place in the new layer, in words.
        replaced: for the parameters of the old layer, those that took their place; None where nothing did.
        added: further parameters of the new layer, each with one of the old layer, or None.
    """

    layer: nn.Module
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    replaced: Mapping[nn.Parameter, nn.Parameter | None] = field(default_factory=dict)
    added: tuple[tuple[nn.Parameter, nn.Parameter | None], ...] = ()


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
    gamma, beta = (_tensor(module, name) for name in (affine.weight, affine.bias))
    if gamma is not None and affine.offset:
        gamma = gamma + affine.offset
    running = [_tensor(module, name) for name in found.running]
    named = dict(zip(_meanings(found), running, strict=False))
    mean, variance = named.get("mean"), named.get("variance")
    untouched = (mean is None or not bool(mean.any())) and (variance is None or bool((variance == 1).all()))
    return Values(gamma, beta, mean, variance, bool(running) and untouched and not found.frozen)


def carry(found: FoundNorm, layer: nn.Module, norm: Norm, slot: Slot) -> Carried:
    """Has a new layer hold what the old one held, as far as it has a place for it.

    gamma and beta stay what they are, also where one layer keeps gamma - 1. Running statistics stay where the new
    layer has them for the same channels. Where nothing is left of a norm but an affine map (``none``, ``bias``, and
    norms of weights), that map is kept: gamma and beta, and running statistics folded into them, which is exact in
    evaluation mode. Parameters train as they did; what was a buffer stays fixed.

    Arguments:
        found: the old norm.
        layer: the new layer, as `normlab.surgery.placing.place` makes it; changed in place.
        norm: what it is.
        slot: where it goes.
    """
    values = values_of(found)
    notes: list[str] = []
    lost: list[str] = []
    if norm.spec.build in (build_none, build_bias):
        layer = _folded(found, layer, values, norm, slot, notes, lost)
        inner, pairs = layer, _pairs(found, layer, _PLAIN)
    else:
        inner = innermost(layer)
        affine = _affine_of(inner, norm)
        _fill(inner, affine, values, lost)
        _run(inner, found, values, notes, lost)
        pairs = _pairs(found, inner, affine)
    _attributes(found.module, layer)
    replaced = _settle(found, inner, pairs)
    used = {id(new) for new in replaced.values() if new is not None}
    like = next(iter(replaced), None)
    added = tuple((one, like) for one in layer.parameters() if id(one) not in used)
    return Carried(layer, tuple(notes), tuple(lost), replaced, added)


def innermost(layer: nn.Module) -> nn.Module:
    """The norm itself, within what may stand around it."""
    while isinstance(layer, norms.Around):
        layer = layer.norm
    return layer


def _tensor(module: nn.Module, name: str) -> Tensor | None:
    value = getattr(module, name) if name else None
    return None if value is None else value.detach()


def _meanings(found: FoundNorm) -> tuple[str, ...]:
    """What the running buffers of a norm mean, in their order."""
    return ("variance",) if found.kind == "variance-only" else ("mean", "variance")


def _affine_of(layer: nn.Module, norm: Norm) -> Affine:
    """The names of gamma and beta in a new layer."""
    if norm.spec.source or norm.spec.formula:
        return _PLAIN
    known = recognize(layer)
    return known.affine if known is not None and known.kind else _PLAIN


def _fill(layer: nn.Module, affine: Affine, values: Values, lost: list[str]) -> None:
    """gamma and beta."""
    import torch

    for letter, name, value in (("gamma", affine.weight, values.gamma), ("beta", affine.bias, values.beta)):
        if value is None:
            continue
        holder = getattr(layer, name, None) if name else None
        if not isinstance(holder, torch.Tensor):
            lost.append(f"{letter} ({_size(value, 1.0 if letter == 'gamma' else 0.0)})")
            continue
        if isinstance(layer, norms.ScaleNorm):
            fitted, exact = value.mean() * layer.channels**0.5, _is_constant(value)
        else:
            fitted, exact = _fitted(value, holder.shape)
        if fitted is None:
            lost.append(f"{letter} ({_size(value, 1.0 if letter == 'gamma' else 0.0)})")
            continue
        if not exact:
            lost.append(f"differences of {letter} that the new layer has no place for: their mean is kept")
        with torch.no_grad():
            holder.copy_(fitted - (affine.offset if letter == "gamma" else 0.0))


def _fitted(value: Tensor, shape: tuple[int, ...]) -> tuple[Tensor | None, bool]:
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
        return flat.mean(1), bool((flat == flat[:, :1]).all())
    return None, False


def _is_constant(value: Tensor) -> bool:
    return bool((value == value.flatten()[0]).all())


def _size(value: Tensor, start: float) -> str:
    """How much is lost with a parameter, in words."""
    if value.is_meta:
        return f"{value.numel()} values"
    away = float((value.float() - start).abs().max())
    return f"{value.numel()} values, all {start:g}" if away == 0 else f"{value.numel()} values up to {away:.3g} off {start:g}"


def _run(layer: nn.Module, found: FoundNorm, values: Values, notes: list[str], lost: list[str]) -> None:
    """Running statistics."""
    import torch

    taken = set()
    pairs = (("mean", "running_mean", values.mean), ("variance", "running_var", values.variance))
    with torch.no_grad():
        for meaning, name, value in pairs:
            buffer = getattr(layer, name, None)
            if value is not None and isinstance(buffer, torch.Tensor) and buffer.shape == value.shape:
                buffer.copy_(value)
                taken.add(meaning)
        count = getattr(found.module, "num_batches_tracked", None)
        own = getattr(layer, "num_batches_tracked", None)
        if taken and isinstance(count, torch.Tensor) and isinstance(own, torch.Tensor):
            own.copy_(count)
    left = [meaning for meaning, _, value in pairs if value is not None and meaning not in taken]
    if left and not values.fresh:
        lost.append(f"running {' and '.join(left)} of {found.channels} channels")


def _folded(
    found: FoundNorm, layer: nn.Module, values: Values, norm: Norm, slot: Slot, notes: list[str], lost: list[str]
) -> nn.Module:
    """The affine map that a norm is in evaluation mode; the layer as given where that map is the identity."""
    import torch

    channels = slot.channels
    scale, shift = torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    for letter, value in (("gamma", values.gamma), ("beta", values.beta)):
        if value is None:
            continue
        fitted, exact = _fitted(value, (channels,))
        if fitted is None or not exact:
            lost.append(f"{letter} ({_size(value, 1.0 if letter == 'gamma' else 0.0)})")
        elif letter == "gamma":
            scale = fitted.double()
        else:
            shift = fitted.double()
    if values.mean is not None or values.variance is not None:
        if not values.fresh:
            if values.variance is not None:
                scale = scale * torch.rsqrt(values.variance.double() + (found.eps or 0.0))
            if values.mean is not None:
                shift = shift - values.mean.double().to(scale.device) * scale
            notes.append("running statistics folded into gamma and beta: exact in evaluation mode")
    scale, shift = scale.to(shift.device), shift.to(scale.device)
    like = next(iter(tensors(found.module)), None)
    if like is not None and like.is_meta:
        return layer
    plain = bool((scale == 1).all())
    if plain and (norm.spec.build is build_bias or not bool(shift.any())):
        kept = layer
    else:
        kept = norms.ScaleShift(channels, -1 if slot.layout == "NLC" else 1)
        notes.append("gamma and beta are kept as an affine map")
    with torch.no_grad():
        for name, value in (("weight", scale), ("bias", shift)):
            holder = getattr(kept, name, None)
            if isinstance(holder, torch.Tensor):
                holder.copy_(value)
    if like is not None:
        kept.to(device=like.device, dtype=like.dtype)
    return kept.train(found.module.training)


def _attributes(old: nn.Module, new: nn.Module) -> None:
    """What tools leave on a layer: the configuration of quantization."""
    if "qconfig" in vars(old):
        new.qconfig = old.qconfig


def _pairs(found: FoundNorm, layer: nn.Module, affine: Affine) -> Iterator[tuple[str, str]]:
    """The names of gamma and beta in the old and in the new layer."""
    yield found.affine.weight, affine.weight
    yield found.affine.bias, affine.bias


def _settle(
    found: FoundNorm, layer: nn.Module, pairs: Iterator[tuple[str, str]]
) -> dict[nn.Parameter, nn.Parameter | None]:
    """Which parameters train, and which took whose place."""
    from torch import nn

    old = found.module
    trains = [one.requires_grad for one in old.parameters()]
    if found.affine.weight or found.affine.bias:
        layer.requires_grad_(any(trains))
    replaced: dict[nn.Parameter, nn.Parameter | None] = {one: None for one in old.parameters()}
    for old_name, new_name in pairs:
        before = getattr(old, old_name, None) if old_name else None
        after = getattr(layer, new_name, None) if new_name else None
        if isinstance(after, nn.Parameter) and before is not None:
            after.requires_grad_(before.requires_grad)
            if isinstance(before, nn.Parameter):
                replaced[before] = after
    return replaced
