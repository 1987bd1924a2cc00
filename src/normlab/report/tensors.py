"""What shares a statistic in the norms of a study, drawn for its page."""

from __future__ import annotations

from dataclasses import dataclass

from normlab.explanation.drawing import legend_of
from normlab.explanation.explain import Explanation
from normlab.explanation.shape import Shape
from normlab.plan import Plan
from normlab.records import Slot
from normlab.tasks.catalog import find_task


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
    """The norms of a study at the first slot of its first task and setting, each as an ``svg`` element."""
    reference = plan.study.tasks[0]
    task = find_task(reference)
    setting = next(iter(plan.study.settings(task)))
    slot = task.slots(setting)[0]
    shape = _shape(slot, setting.batch_size)
    norms = tuple(norm for norm in plan.study.parsed_norms() if norm.refusal(slot, setting.batch_size) is None)
    explanation = Explanation(norms, slot.layout, shape)
    where = f"{reference}: a batch of {shape} at the first slot for a norm"
    return Tensors(where, legend_of(explanation.panels()), tuple(explanation.figures()))


def _shape(slot: Slot, batch_size: int) -> Shape:
    extent = iter(slot.extent)
    known = {"N": batch_size, "C": slot.channels}
    return Shape(slot.layout, tuple(known[axis] if axis in known else next(extent) for axis in slot.layout))
