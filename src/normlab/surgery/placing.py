"""The slot that a norm in a model stands in, and the layer for a norm in such a slot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from normlab import norms
from normlab.errors import InputError
from normlab.norms.layouts import SPATIAL
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm
from normlab.recognition.find import recognize
from normlab.recognition.spec import FoundNorm, Use

if TYPE_CHECKING:
    from torch import Tensor, nn

Positions = Literal["apart", "together"]
_FIRST: dict[int, Layout] = {len(spatial): layout for layout, spatial in SPATIAL.items()}
_LEAVE = "Leave the layer out by `where`."
_TRACE = "Give `example_inputs`: a forward pass tells."


def slot_of(found: FoundNorm, uses: Iterable[Use] = ()) -> Slot:
    """The slot of a norm that was found in a model.

    Where its channels are is read from the layer and, where that does not say, from the calls of it. Features last
    are ``NLC`` whatever the number of axes before them, which count as one axis of positions. Where a layer is called
    with several extents, the slot has none. Without calls, a layer that takes any number of positions is taken to have
    none (`is_certain` says so).

    Arguments:
        found: the norm.
        uses: its calls in a traced forward pass, if there was one.

    Raises:
        InputError: neither the layer nor its calls say where the channels are, or they contradict each other.
    """
    calls = tuple(uses)
    shapes = tuple(dict.fromkeys(use.shape for use in calls))
    channels, order = _channels_and_order(found, shapes)
    first = calls[0] if calls else None
    slot = Slot(
        channels,
        layer=first.before if first else "",
        activation=first.behind if first and not found.activation else "",
        role=found.role,
        name=found.name,
    )
    if order == "last":
        return _features_last(slot, shapes)
    return _channels_first(slot, found, order, shapes)


def is_certain(found: FoundNorm, uses: Iterable[Use] = ()) -> bool:
    """Whether the layer or its calls say how many axes its input has; where they do not, `slot_of` takes N,C."""
    return bool(tuple(uses)) or found.order in ("last", "all") or found.spatial is not None


def place(norm: Norm, slot: Slot, found: FoundNorm | None = None, positions: Positions = "apart") -> nn.Module:
    """The new layer for a slot, with the device, the type and the mode of the norm that stands there.

    A norm that has no form for features last is put into an adapter there: with ``positions="apart"`` every position
    is a sample of its own, with ``"together"`` all positions of a sample share what statistics the norm takes over
    positions. gamma, beta and statistics are as the norm starts; `normlab.surgery.carry` takes over the old ones.

    Arguments:
        norm: the norm.
        slot: where it goes.
        found: the norm that stands there.
        positions: what positions are to norms that have no form for features last.

    Raises:
        InputError: the norm has no form for that slot.
    """
    inner = inner_slot(norm, slot, positions)
    if reason := norm.misfit(inner):
        raise InputError("a norm must have a form for its slot", slot.name or str(inner), f"{reason}.")
    layer = _adapted(norm.build(inner), norm, slot, inner)
    if found is not None:
        settle(layer, found.module)
    return layer


def inner_slot(norm: Norm, slot: Slot, positions: Positions = "apart") -> Slot:
    """The slot as the norm itself sees it, within an adapter where there is one."""
    if slot.layout != "NLC" or "NLC" in norm.spec.axes:
        return slot
    keeps_apart = "NC" not in norm.spec.axes and norm.spec.axes.get("NCL") == ("C",)  # by itself, as LayerNorm2d
    if positions == "apart" and not keeps_apart:
        return replace(slot, layout="NC", extent=())
    return replace(slot, layout="NCL")


def _channels_and_order(found: FoundNorm, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, str]:
    """The number of channels and where they are: ``first``, ``last``, or ``all`` of a sample."""
    channels, order = found.channels, found.order
    if not order:
        if not shapes:
            raise InputError("the axis of the channels must be known", f"{found.name!r}", _TRACE)
        could = [name for name, axis in (("first", 1), ("last", -1)) if channels in (0, shapes[0][axis])]
        if len(could) != 1 and len(shapes[0]) > 2:
            given = f"{found.name!r} with input of shape {shapes[0]}"
            advice = "Give `example_inputs` of another size, or leave the layer out by `where`."
            raise InputError("one axis must be that of the channels", given, advice)
        order = "first" if "first" in could else "last"
    if not channels:
        if not shapes:
            raise InputError("the number of channels must be known", f"{found.name!r}", _TRACE)
        channels = shapes[0][-1 if order == "last" else 1]
    axis = -1 if order == "last" else 1
    for shape in shapes:
        if order == "all" and len(shape) != len(_own_extent(found)) + 2:
            given = f"{found.name!r} over the last {len(_own_extent(found)) + 1} of input of shape {shape}"
            raise InputError("a LayerNorm of several axes must be over a whole sample", given, _LEAVE)
        if len(shape) < 2 or shape[axis] != channels:
            given = f"{found.name!r} with input of shape {shape}"
            rule = f"the input of a layer must have its {channels} channels on axis {axis}"
            raise InputError(rule, given, "Give input with an axis of samples, or leave the layer out by `where`.")
    return channels, order


def _features_last(slot: Slot, shapes: tuple[tuple[int, ...], ...]) -> Slot:
    if not shapes:
        return replace(slot, layout="NLC")
    if all(len(shape) == 2 for shape in shapes):
        return replace(slot, layout="NC")
    counts = {prod(shape[1:-1]) for shape in shapes}
    return replace(slot, layout="NLC", extent=(counts.pop(),) if len(counts) == 1 else ())


def _channels_first(slot: Slot, found: FoundNorm, order: str, shapes: tuple[tuple[int, ...], ...]) -> Slot:
    spatial = len(_own_extent(found)) if order == "all" else found.spatial
    if shapes:
        seen = {len(shape) - 2 for shape in shapes}
        if len(seen) > 1 or (spatial is not None and seen != {spatial}) or not seen <= set(_FIRST):
            given = f"{found.name!r} with input of shape {' and '.join(map(str, shapes))}"
            rule = "the input of a layer must always have the same axes: samples, channels and positions"
            raise InputError(rule, given, _LEAVE)
        spatial = seen.pop()
    extents = {shape[2:] for shape in shapes} or {_own_extent(found) if order == "all" else ()}
    return replace(slot, layout=_FIRST[spatial or 0], extent=extents.pop() if len(extents) == 1 else ())


def _own_extent(found: FoundNorm) -> tuple[int, ...]:
    """The positions of a LayerNorm over C,H,W, which its own shape names."""
    return tuple(getattr(found.module, "normalized_shape", ()))[1:]


def _adapted(layer: nn.Module, norm: Norm, slot: Slot, inner: Slot) -> nn.Module:
    """The layer, with what brings the input into its form around it where that is needed."""
    if inner != slot:
        return norms.PositionsAsSamples(layer) if inner.layout == "NC" else norms.FeaturesFirst(layer)
    if norm.spec.source or norm.spec.formula:
        return layer
    known = recognize(layer)  # a class of the user's, of which nothing says where it has its features
    order = known.order if known is not None else ""
    if order == "first" and slot.layout == "NLC":
        return norms.PositionsAsSamples(layer)
    if order == "last" and slot.layout not in ("NC", "NLC"):
        return norms.FeaturesLast(layer)
    return layer


def take_by_any_name(layer: nn.Module) -> None:
    """Has a layer take its input by whatever name a model gives it, as the classes of libraries have their own."""
    layer.register_forward_pre_hook(_by_place, with_kwargs=True)


def _by_place(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (args, named) if args else (tuple(named.values()), {})


def tensors(module: nn.Module) -> list[Tensor]:
    """The floating-point parameters and buffers of a layer itself."""
    every = (*module.parameters(), *module.buffers())
    return [tensor for tensor in every if tensor.is_floating_point()]


def settle(layer: nn.Module, old: nn.Module) -> None:
    """Device, type and mode of the old layer."""
    like = next(iter(tensors(old)), None)
    if like is not None:
        layer.to(device=like.device, dtype=like.dtype)
    layer.train(old.training)
