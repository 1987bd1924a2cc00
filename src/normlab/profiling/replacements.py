"""What other norms would cost in the places of a model's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.norms.layouts import LAYOUTS
from normlab.norms.spec import Norm
from normlab.profiling.clock import Stopwatch, Timings, Work
from normlab.profiling.inputs import tensors_of
from normlab.profiling.requests import reason_against, slot_of
from normlab.profiling.spec import Spread, Swapped
from normlab.profiling.step import IGNORED, Call, again
from normlab.profiling.text import first_line, places, together
from normlab.records import Layout, Slot

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Replacement:
    """Another norm in every place that it fits: its work in a step, those places, and the others with the reason."""

    norm: str
    work: Work | None
    fits: tuple[str, ...] = field(default=())
    left_out: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """What it is called among all that is timed."""
        return f"all as {self.norm}"


def replacement(
    norm: Norm, norms: Mapping[str, nn.Module], calls: Mapping[str, Sequence[Call]], like: Tensor, learning: bool
) -> Replacement:
    """Another norm in the place of every one, on the same inputs and gradients, as far as it fits."""
    works, left_out = {}, list[str]()
    for key, module in norms.items():
        if not calls[key]:
            continue
        first = next(tensors_of(calls[key][0].args), None)
        slot = _slot(module, first) if first is not None else None
        if first is None or slot is None:
            left_out.append(f"{key}: its input is no tensor of a known layout")
        elif norm.spec.wrap:
            left_out.append(f"{key}: {norm} changes weights instead")
        elif reason := reason_against(norm, slot, len(first)):
            left_out.append(f"{key}: {reason}")
        else:
            try:
                layer = norm.build(slot).to(like.device, like.dtype).train(module.training)
                works[key] = _in_place_of(layer if learning else layer.requires_grad_(False), calls[key])
            except Exception as error:
                left_out.append(f"{key}: {first_line(error)}")
    return Replacement(str(norm), _in_a_row(list(works.values())) if works else None, tuple(works), tuple(left_out))


def _in_place_of(layer: nn.Module, calls: Sequence[Call]) -> Work:
    """What another layer does with the calls of a norm; done once, to see that it can."""
    work = again(layer, [Call(call.args[:1], {}, call.gradient, call.cast) for call in calls])
    work(IGNORED)
    return work


def refuse_nowhere(replaced: Sequence[Replacement]) -> None:
    """One of the norms that were asked for must fit somewhere."""
    if not replaced or any(one.work for one in replaced):
        return
    reasons = []
    for one in replaced:
        reasons += [f"{one.norm} for {names}: {reason}" for names, reason in together(places(one.left_out))]
    rule = "a norm that is asked for must fit in the place of some norm of the model"
    given = "; ".join(reasons) or "a model that calls none of its norms"
    raise InputError(rule, given, "Choose others with --norm, or leave it out.")


def _slot(module: nn.Module, first: Tensor) -> Slot | None:
    """The slot of a norm: torch's layers for sequences take the features last, those for images the channels second."""
    from torch.nn import LayerNorm, RMSNorm

    last = isinstance(module, LayerNorm | RMSNorm) or (first.dim() == 3 and not _channels_second(module, first))
    fitting: list[Layout] = [layout for layout in LAYOUTS if len(layout) == first.dim()]
    for layout in fitting:
        if first.dim() == 2 or (layout[-1] == "C") == last:
            return slot_of(tuple(first.shape), layout)
    return None


def _channels_second(module: nn.Module, first: Tensor) -> bool:
    """Whether the learned numbers of a norm on 3 axes are as many as its second axis has places."""
    sizes = [parameter.numel() for parameter in module.parameters()]
    return first.shape[1] in sizes or first.shape[2] not in sizes


def _in_a_row(works: Sequence[Work]) -> Work:
    """Several works as one, each with its own watch; only the sum of the whole is marked."""

    def work(watch: Stopwatch) -> None:
        watch.mark()
        for one in works:
            one(IGNORED)
        watch.mark()

    return work


def swapped(
    one: Replacement, timed: Mapping[str, Timings], steps: Sequence[float], replaced: Sequence[float]
) -> Swapped:
    """The seconds of a norm in all places that it fits, and its share of the step that it would be a part of.

    Arguments:
        one: the norm.
        timed: all that was timed.
        steps: seconds of the step as it is, in every round.
        replaced: seconds of the norms in it whose places the norm takes.
    """
    if one.work is None:
        return Swapped(one.norm, None, None, one.left_out)
    theirs = timed[one.name].totals()
    rounds = zip(theirs, steps, replaced, strict=True)
    share = Spread.of(other / max(whole - own + other, 1e-12) for other, whole, own in rounds)
    return Swapped(one.norm, Spread.of(theirs), share, one.left_out)
