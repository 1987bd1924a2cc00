"""What a new layer takes over from the one that it replaces, and what is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.none import build_bias, build_none
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.recognition.find import recognize
from normlab.recognition.spec import Affine, FoundNorm
from normlab.surgery.affine_map import affine_map
from normlab.surgery.values import Values, fitted_to, values_of, what_of
from normlab.tables import plural

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


def carry(found: FoundNorm, layer: nn.Module, norm: Norm, slot: Slot) -> Carried:
    """Has a new layer hold what the old one held, as far as it has a place for it.

    gamma and beta stay what they are, also where one layer keeps gamma - 1. Other parameters go from a norm to the
    same one, such as tau from one filter response normalization to another, and are lost otherwise. Running
    statistics stay where the new layer has them for the same channels. Where nothing is left of a norm but an affine
    map (``none``, ``bias``, and norms of weights), that map is kept: gamma and beta, and running statistics folded
    into them, which is exact in evaluation mode. Parameters train as they did; what was a buffer stays fixed.

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
        left = affine_map(found, layer, values, norm, slot)
        inner = layer = left.layer
        affine, notes, lost = _PLAIN, [*left.notes], [*left.lost]
    else:
        inner = innermost(layer)
        affine = _affine_of(inner, norm)
        _fill(inner, affine, values, lost)
        _run(inner, found, values, lost)
        if found.frozen and (isinstance(inner, norms.RunningStatistics) or "running_mean" in inner._buffers):
            notes.append("was frozen, and its statistics move from now on: normlab.freeze")
    replaced = _train_as_before(found, inner, affine)
    replaced |= _others(found, inner, norm, lost)
    used = {id(new) for new in replaced.values() if new is not None}
    like = next(iter(replaced), None)
    added = tuple((one, like) for one in layer.parameters() if id(one) not in used)
    return Carried(layer, tuple(notes), tuple(lost), replaced, added)


def _others(found: FoundNorm, layer: nn.Module, norm: Norm, lost: list[str]) -> dict[nn.Parameter, nn.Parameter | None]:
    """Parameters beside gamma and beta, which mean the same in the same norm only; says which took whose place."""
    import torch

    replaced: dict[nn.Parameter, nn.Parameter | None] = {}
    for name, old in found.module._parameters.items():
        if old is None or name in (found.affine.weight, found.affine.bias):
            continue
        new = layer._parameters.get(name) if found.kind == norm.spec.name else None
        if new is None or new.shape != old.shape:
            lost.append(f"{name} ({plural(old.numel(), 'value')})")
            continue
        with torch.no_grad():
            new.copy_(old)
        new.requires_grad_(old.requires_grad)
        replaced[old] = new
    return replaced


def tie(every: Iterable[Carried]) -> None:
    """Has new layers share a parameter where the old ones shared it.

    Arguments:
        every: the new layers; changed in place.
    """
    first: dict[nn.Parameter, nn.Parameter] = {}
    for carried in every:
        for old, new in carried.replaced.items():
            twin = first.setdefault(old, new) if new is not None else None
            if new is None or twin is None or twin is new or twin.shape != new.shape:
                continue
            for module in carried.layer.modules():
                for name, parameter in module._parameters.items():
                    if parameter is new:
                        module._parameters[name] = twin


def innermost(layer: nn.Module) -> nn.Module:
    """The norm itself, within what may stand around it."""
    while isinstance(layer, norms.Around):
        layer = layer.norm
    return layer


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
            lost.append(what_of(letter, value))
            continue
        if isinstance(layer, norms.ScaleNorm):
            fitted, exact = value.mean() * layer.channels**0.5, _is_constant(value)
        else:
            fitted, exact = fitted_to(value, holder.shape)
        if fitted is None:
            lost.append(what_of(letter, value))
            continue
        if not exact:
            lost.append(f"differences of {letter} that the new layer has no place for: their mean is kept")
        with torch.no_grad():
            holder.copy_(fitted - (affine.offset if letter == "gamma" else 0.0))


def _is_constant(value: Tensor) -> bool:
    return value.is_meta or bool((value == value.flatten()[0]).all())


def _run(layer: nn.Module, found: FoundNorm, values: Values, lost: list[str]) -> None:
    """Running statistics."""
    import torch

    known = {"mean": values.mean, "variance": values.variance}
    taken = set()
    with torch.no_grad():
        for name, (meaning, value) in _buffers(layer, values).items():
            buffer = getattr(layer, name, None)
            fitted = _of_groups(value, buffer.shape) if value is not None and isinstance(buffer, torch.Tensor) else None
            if fitted is not None:
                buffer.copy_(fitted)  # type: ignore[union-attr]
                taken.add(meaning)
        count = getattr(found.module, "num_batches_tracked", None)
        own = getattr(layer, "num_batches_tracked", None)
        if taken and isinstance(count, torch.Tensor) and isinstance(own, torch.Tensor):
            own.copy_(count)
    left = [meaning for meaning, value in known.items() if value is not None and meaning not in taken]
    if left and not values.fresh:
        lost.append(f"running {' and '.join(left)} of {found.channels} channels")


def _of_groups(value: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Statistics of channels as those of groups of channels; None where channels of a group differ."""
    if value.shape == shape:
        return value
    if len(shape) != 1 or not shape[0] or len(value) % shape[0] or value.is_meta:
        return None
    parts = value.view(shape[0], -1)
    return parts[:, 0] if bool((parts == parts[:, :1]).all()) else None


def _buffers(layer: nn.Module, values: Values) -> dict[str, tuple[str, Tensor | None]]:
    """For the buffers of a new layer what they mean and would hold; some keep a deviation."""
    import torch

    if isinstance(layer, norms.RunningStatistics) and values.variance is not None:
        mean = torch.zeros_like(values.variance) if values.mean is None else values.mean
        held = layer.buffers_of(mean, values.variance)
        return {name: ("mean" if name == "running_mean" else "variance", value) for name, value in held.items()}
    return {"running_mean": ("mean", values.mean), "running_var": ("variance", values.variance)}


def _train_as_before(found: FoundNorm, layer: nn.Module, affine: Affine) -> dict[nn.Parameter, nn.Parameter | None]:
    """Has parameters train where the old ones did; says which took whose place."""
    from torch import nn

    old = found.module
    trains = [one.requires_grad for one in old.parameters()]
    if found.affine.weight or found.affine.bias:
        layer.requires_grad_(any(trains))
    replaced: dict[nn.Parameter, nn.Parameter | None] = dict.fromkeys(old.parameters())
    for old_name, new_name in ((found.affine.weight, affine.weight), (found.affine.bias, affine.bias)):
        before = getattr(old, old_name, None) if old_name else None
        after = getattr(layer, new_name, None) if new_name else None
        if isinstance(after, nn.Parameter) and before is not None:
            after.requires_grad_(before.requires_grad)
            if isinstance(before, nn.Parameter):
                replaced[before] = after
    return replaced
