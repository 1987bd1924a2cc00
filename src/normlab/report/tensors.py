"""What shares a statistic in the norms of a study, drawn for its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from normlab.explanation.drawing import legend_of
from normlab.explanation.explain import Explanation
from normlab.explanation.shape import Shape
from normlab.norms.assignment import parse_assignment
from normlab.norms.catalog import BY_NAME
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.plan import Plan
from normlab.study.arm import Condition


@dataclass(frozen=True)
class Tensors:
    """The drawings of a study.

    Arguments:
        where: the place in the model that they are drawn for, in words.
        legend: what colours and lines mean.
        drawings: ``svg`` elements, one for each norm and set of axes.
    """

    where: str
    legend: str
    drawings: tuple[str, ...]


def tensors(plan: Plan) -> Tensors:
    """The built-in norms of a study at the first slot of its first condition, each as an ``svg`` element.

    Norms of the user's are left out: to draw them would run the user's code. So are slots without an extent, as those
    of norms that a model calls with several.
    """
    condition = plan.arms[0].condition if plan.arms else None
    slots = condition.slots if condition is not None else ()
    slot = next((slot for slot in slots if len(slot.extent) == len(slot.layout) - 2), None)
    if condition is None or slot is None:
        return Tensors("", "", ())
    batch_size = condition.training.batch_size
    norms = tuple(dict.fromkeys(norm for norm in _built_in(plan, condition) if not norm.refusal(slot, batch_size)))
    explanation = Explanation(norms, slot.layout, _shape(slot, batch_size))
    where = f"{condition.task.reference}: a batch of {_shape(slot, batch_size)} at the first slot for a norm"
    return Tensors(where, legend_of(explanation.panels()), tuple(explanation.figures()))


def _built_in(plan: Plan, condition: Condition) -> Iterator[Norm]:
    for arm in plan.arms:
        if arm.condition == condition and not arm.source and arm.norm.partition(":")[0] in BY_NAME:
            yield from parse_assignment(arm.norm).norms


def _shape(slot: Slot, batch_size: int) -> Shape:
    extent = iter(slot.extent)
    known = {"N": batch_size, "C": slot.channels}
    return Shape(slot.layout, tuple(known[axis] if axis in known else next(extent) for axis in slot.layout))
