"""What other norms would cost in the places of a model's norms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from normlab.errors import InputError, describe_error
from normlab.norms.layouts import LAYOUTS
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.profiling.clock import Stopwatch, Timings, Work
from normlab.profiling.requests import reason_against
from normlab.profiling.spec import Spread, Swapped
from normlab.profiling.step import UNREAD, Call, repeat_calls
from normlab.profiling.text import group_names, split_reasons
from normlab.recognition.find import recognize
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Replacement:
    """Another norm in every place of the model that it fits.

    Arguments:
        norm: the norm's text.
        work: what it does in a step in all of those places; None if it fits nowhere.
        places: the names of the norms that it replaces.
        left_out: the others, each with the reason.
    """

    norm: str
    work: Work | None
    places: tuple[str, ...] = field(default=())
    left_out: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """What it is called among all that is timed."""
        return f"all as {self.norm}"


class _Unfit(Exception):
    """A norm does not fit in a place; the text says why."""


def replace_all(
    norm: Norm, modules: Mapping[str, nn.Module], calls: Mapping[str, Sequence[Call]], like: Tensor, backward: bool
) -> Replacement:
    """Another norm in the place of every norm of a model, on the same inputs and gradients, as far as it fits.

    Arguments:
        norm: the other norm.
        modules: the norms of the model by name.
        calls: what each of them was called with.
        like: a tensor of the model's type and on its device.
        backward: whether a step has a backward pass.
    """
    works: dict[str, Work] = {}
    left_out: list[str] = []
    for name, module in modules.items():
        if calls[name]:
            try:
                works[name] = _replace(norm, module, calls[name], like, backward)
            except _Unfit as reason:
                left_out.append(f"{name}: {reason}")
    return Replacement(str(norm), _in_sequence(list(works.values())) if works else None, tuple(works), tuple(left_out))


def _replace(norm: Norm, module: nn.Module, calls: Sequence[Call], like: Tensor, backward: bool) -> Work:
    """What the norm does with the calls of a module; done once, to see that it can.

    Raises:
        _Unfit: it cannot.
    """
    first = next(tensors_of(calls[0].args), None)
    slot = find_slot(module, first) if first is not None else None
    if first is None or slot is None:
        raise _Unfit("its input is no tensor of a known layout")
    if norm.spec.wrap:
        raise _Unfit(f"{norm} changes weights instead")
    if reason := reason_against(norm, slot, len(first) if first.dim() > 1 else 1):
        raise _Unfit(reason)
    if first.dim() != len(slot.layout) and any(axis.partition("/")[0] != "C" for axis in _axes(norm, slot)):
        raise _Unfit(f"the statistics of {norm} go over positions, which are on {first.dim() - 2} axes here")
    try:
        layer = norm.build(slot).to(like.device, like.dtype).train(module.training)
        layer = layer if backward else layer.requires_grad_(False)
        work = repeat_calls(layer, [Call(call.args[:1], {}, call.gradient, call.cast) for call in calls])
        work(UNREAD)
    except Exception as error:
        raise _Unfit(describe_error(error)) from error
    return work


def _axes(norm: Norm, slot: Slot) -> Iterator[str]:
    for axes in norm.spec.sets(slot.layout):
        yield from axes


def refuse_nowhere(replacements: Sequence[Replacement]) -> None:
    """At least one of the norms that were asked for must fit somewhere in the model.

    Raises:
        InputError: none does.
    """
    if not replacements or any(replacement.work for replacement in replacements):
        return
    reasons = [
        f"{replacement.norm} for {names}: {reason}"
        for replacement in replacements
        for names, reason in group_names(split_reasons(replacement.left_out))
    ]
    rule = "a norm that is asked for must fit in the place of some norm of the model"
    given = "; ".join(reasons) or "a model that calls none of its norms"
    raise InputError(rule, given, "Choose other `norms`, or leave them out.")


def find_slot(module: nn.Module, inputs: Tensor) -> Slot | None:
    """The slot of a norm that gets such inputs; None if their layout is not known.

    Inputs with the features last may have any number of axes: all between the samples and the features are positions.

    >>> import torch
    >>> find_slot(torch.nn.LayerNorm(8), torch.ones(2, 4, 5, 8))  # doctest: +ELLIPSIS
    Slot(channels=8, layout='NLC', extent=(20,), layer='', activation='', ...)
    >>> find_slot(torch.nn.BatchNorm2d(4), torch.ones(2, 4, 5, 8))
    Slot(channels=4, layout='NCHW', extent=(5, 8), layer='', activation='', ...)
    """
    shape = tuple(inputs.shape)
    if len(shape) in (1, 2):
        return Slot.of_shape((1, *shape)[-2:], "NC")
    if shape and _features_last(module, shape):
        return Slot.of_shape((shape[0], prod(shape[1:-1]), shape[-1]), "NLC")
    channels_second = (layout for layout in LAYOUTS if len(layout) == len(shape) and layout[1] == "C")
    layout = next(channels_second, None)
    return Slot.of_shape(shape, layout) if layout else None


def _features_last(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a norm takes the last of three or more axes as features, rather than the second as channels."""
    norm = recognize(module)
    if norm is not None and norm.order in ("first", "last"):
        return norm.order == "last"
    if norm is not None and norm.order == "all":  # over all axes it is one of images
        return len(shape) == 3 or len(getattr(module, "normalized_shape", shape[1:])) < len(shape) - 1
    sizes = {parameter.numel() for parameter in module.parameters()}
    return shape[-1] in sizes and shape[1] not in sizes


def _in_sequence(works: Sequence[Work]) -> Work:
    """Several works as one, of which only the whole is timed."""

    def work(watch: Stopwatch) -> None:
        watch.mark()
        for part in works:
            part(UNREAD)
        watch.mark()

    return work


def cost_of(
    replacement: Replacement, timings: Mapping[str, Timings], steps: Sequence[float], replaced: Sequence[float]
) -> Swapped:
    """The seconds of a norm in all places that it fits, and its share of the step that it would be a part of.

    Arguments:
        replacement: the norm in those places.
        timings: all that was timed.
        steps: seconds of the step as it is, in every round.
        replaced: seconds of the norms in it that are replaced, in every round.
    """
    if replacement.work is None:
        return Swapped(replacement.norm, None, None, replacement.left_out)
    seconds = timings[replacement.name].totals()
    rounds = zip(seconds, steps, replaced, strict=True)
    share = Spread.of(new / max(step - old + new, 1e-12) for new, step, old in rounds)
    return Swapped(replacement.norm, Spread.of(seconds), share, replacement.left_out)
