"""Norms of a user's model replaced by others: planned, applied whole or not at all, verified, and undone on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from normlab import norms
from normlab.errors import InputError, argument_called
from normlab.norms.copying import copied
from normlab.norms.fitting import fit
from normlab.recognition.inputs import build_model
from normlab.recognition.state import random_states_kept
from normlab.recognition.trace import trace
from normlab.surgery.carry import Carried, carry, innermost, tie
from normlab.surgery.edits import Edits
from normlab.surgery.estimate import estimate
from normlab.surgery.layers import Pairs, mend
from normlab.surgery.obstacles import refuse, require_unwrapped
from normlab.surgery.optimizers import require_same
from normlab.surgery.placing import Positions, place, take_by_any_name
from normlab.surgery.plan import SwapPlan, plan_swap
from normlab.surgery.report import SwapEntry, SwapReport
from normlab.surgery.step import Step, Uses
from normlab.surgery.verify import changes, modules_of, outputs_of, require_called, require_only

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@argument_called("inputs", "example_inputs")
def swap(
    model: nn.Module,
    to: Any,
    *,
    where: Any = None,
    optimizer: Optimizer | None = None,
    example_inputs: Any = None,
    copy: bool | Literal["shared"] = True,
    strict: bool = False,
    positions: Positions = "apart",
) -> tuple[nn.Module, SwapReport]:
    """Replaces norms of a model by others, which keep what the old ones held.

    All is planned first; where one layer cannot become what is asked for, nothing is changed, and the message lists
    every such layer. gamma, beta, eps, momentum, device, type, mode and ``requires_grad`` are those of the old layer
    where the new one has them and nothing else was asked for; the report says what was lost.

    By default every layer that normalizes is replaced, those of queries and keys and of embeddings too; a layer is
    left alone where it cannot be told what it computes, and where it takes more than its input (a mask, a gate).

    Arguments:
        model: the model.
        to: a norm such as ``"group:groups=8"``, also one for each role (``"rms,query-key=layer"``); ``"same"``, which
            leaves a layer as it is; a `NormSpec`; a class or function of the number of channels; or a mapping from
            selectors to these, of which the most exact selector decides.
        where: which norms are meant: a selector, a list of selectors, or a mapping from selectors to yes or no. A
            selector is the name of a norm or of a module around norms, ``"re:..."``, a function of a `FoundNorm`, a
            class, ``"role:..."``, a kind such as ``"batch"``, or ``"*"``; the most exact one decides, in this order.
            ``"not:"`` before a selector leaves norms out.
        optimizer: the optimizer that trains the model; its groups are repaired in place. For ``copy=False``.
        example_inputs: what the model is called with: tensors, a dictionary, or shapes such as ``"8,3,224,224"``. They
            tell layouts that no layer tells, give running statistics to norms that need some, and let the report say
            how far the outputs moved.
        copy: whether the model stays as it is and a copy is changed; ``"shared"`` is a copy that has the very tensors
            of the model, apart from those of the new layers.
        strict: whether a number of groups that does not fit is refused, and not replaced by the largest that does.
        positions: where features come last and a norm has no form for that: ``"apart"`` normalizes each position as a
            sample of its own, ``"together"`` all positions of a sample as positions of the norm.

    Returns:
        The model and the report.

    Raises:
        InputError: a selector, a norm or the inputs cannot be used, a layer cannot become what is asked for, or it is
            to be replaced in place beneath a DistributedDataParallel.
        ExecutionError: the swapped model does not run, or not with finite numbers, where the model did.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
    >>> swapped, report = swap(model, "group:groups=8")
    >>> swapped[1], report.entries[0].notes
    (GroupNorm(6, 12, eps=1e-05, affine=True, bias=True), ('6 groups, as 8 do not divide 12 channels',))
    """
    refuse(model, ())
    if copy not in (True, False, "shared"):
        raise InputError("`copy` must be True, False or 'shared'", repr(copy), "Leave it out for a copy.")
    inputs = _inputs(model, example_inputs)
    edits = Edits(copied(model, share=copy == "shared") if copy else model)
    if optimizer is not None:
        require_same(optimizer, edits.model)
    made, uses, warnings = _planned(edits.model, to, where, inputs, strict, positions)
    if copy is False:
        require_unwrapped(step.found.module for step in made.replacing)
    before = outputs_of(edits.model, inputs) if inputs is not None else {}
    moved: Mapping[str, float] = {}
    notes: tuple[str, ...] = ()
    parameters = dict(edits.model.named_parameters())
    with edits.undone_after_errors():
        pairs = [_successor(step, positions) for step in made.replacing]
        _require_apart(pairs)
        tie(one for _, one in pairs)
        _apply(edits, pairs)
        mended = mend(edits, pairs, uses, optimizer, parameters)
        if inputs is not None:
            notes = estimate(edits.model, [(step.found, innermost(one.layer)) for step, one in pairs], inputs)
            moved, remarks = changes(before, outputs_of(edits.model, inputs))
            warnings += remarks
            if pairs:
                require_called((step.found.name for step, _ in pairs), uses, _traced(edits.model, inputs))
    report = SwapReport(
        to=str(to),
        entries=_entries(made, pairs),
        changes=moved,
        notes=(*mended.notes, *notes),
        warnings=(*warnings, *mended.warnings),
        optimizer=mended.optimizer,
        _undo=edits.undo,
    )
    return edits.model, report


@argument_called("inputs", "example_inputs")
def preview(
    model: nn.Module,
    to: Any,
    *,
    where: Any = None,
    example_inputs: Any = None,
    strict: bool = False,
    positions: Positions = "apart",
) -> SwapReport:
    """What `swap` would do with the same arguments, without changing or copying anything.

    >>> from torch import nn
    >>> print(preview(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)), "rms").sentence)
    1 norm to replace of 1, 0 kept as asked, 0 left alone.
    """
    refuse(model, ())
    made, _, warnings = _planned(model, to, where, _inputs(model, example_inputs), strict, positions)
    return SwapReport(str(to), _entries(made, []), warnings=warnings, applied=False)


def _planned(
    model: nn.Module, to: Any, where: Any, inputs: Any, strict: bool, positions: Positions
) -> tuple[SwapPlan, Uses, tuple[str, ...]]:
    """The plan, the calls that it was made with, and what must be known of it."""
    uses = _traced(model, inputs) if inputs is not None else {}
    made = plan_swap(model, to, where=where, uses=uses, strict=strict, positions=positions)
    refuse(model, (step.found.name for step in made.replacing))
    silent = [step.found.name for step in made.replacing if inputs is not None and step.found.name not in uses]
    warnings = [f"the example inputs do not reach {', '.join(silent)}"] if silent else []
    if not made.steps:
        warnings.append("no norm was found in the model")
    return made, uses, tuple(warnings)


def _inputs(model: nn.Module, example_inputs: Any) -> Any:
    """What the model is called with; random inputs are drawn without moving on the random numbers of anybody."""
    if example_inputs is None:
        return None
    with random_states_kept():
        return build_model(model, example_inputs, None, None, "contiguous")[1]


def _traced(model: nn.Module, inputs: Any) -> Uses:
    """The calls of all parts: in the model's own mode, or in evaluation mode where it does not run in its own.

    Random numbers are the same each time, for models that skip layers at random.
    """
    import torch

    with random_states_kept():
        torch.manual_seed(0)
        try:
            return trace(model, inputs)
        except InputError:
            return trace(model, inputs, training=False)


def _successor(step: Step, positions: Positions) -> tuple[Step, Carried]:
    """The new layer of a step, with what it takes over; the old one is only read."""
    assert step.norm is not None
    assert step.slot is not None
    carried = carry(step.found, place(step.norm, step.slot, step.found, positions), step.norm, step.slot)
    if step.behind:
        layer = norms.NormThenActivation(carried.layer, *step.behind).train(step.found.module.training)
        carried = replace(carried, layer=layer)
    if step.keywords:
        take_by_any_name(carried.layer)
    return step, carried


def _require_apart(pairs: Pairs) -> None:
    """Refuses a function of the user's that gave one layer for several places: each would overwrite the others' values.

    Raises:
        InputError: it did.
    """
    places: dict[nn.Module, str] = {}
    for step, one in pairs:
        other = places.setdefault(innermost(one.layer), step.found.name)
        if other != step.found.name:
            what = f"the same {type(innermost(one.layer)).__name__} for {other!r} and {step.found.name!r}"
            advice = "Make the layer within the function, such as `lambda channels: MyNorm(4, channels)`."
            raise InputError("a function in `to` must make a new layer for each place", what, advice)


def _apply(edits: Edits, pairs: Pairs) -> None:
    """Puts the new layers in, and has norms change what they change beyond their slots."""
    from torch import nn

    before = modules_of(edits.model)
    successors = {name: one.layer for step, one in pairs for name in step.found.names}
    edits.put_all(successors)
    changed: dict[str, nn.Module] = {}
    for step, _ in pairs:
        assert step.norm is not None
        assert step.slot is not None
        wraps, activates = step.norm.spec.wrap is not None, step.norm.spec.activates and bool(step.slot.activation)
        if not (wraps or activates):
            continue
        part = edits.model.get_submodule(step.slot.layer if wraps else step.slot.activation)
        if part in changed.values():  # a layer that stands before several norms
            continue
        names = [name for name, one in modules_of(edits.model).items() if one is part]
        changed |= dict.fromkeys(names, part)
        if wraps:
            with edits.changing([part]):
                fit(edits.model, step.norm, [step.slot])
        else:
            edits.put_all(dict.fromkeys(names, nn.Identity().train(part.training)))
    require_only(before, modules_of(edits.model), successors, changed)


def _entries(plan: SwapPlan, pairs: Pairs) -> tuple[SwapEntry, ...]:
    carried = {id(step): one for step, one in pairs}
    return tuple(_entry(step, carried.get(id(step))) for step in plan.steps)


def _entry(step: Step, carried: Carried | None) -> SwapEntry:
    found = step.found
    return SwapEntry(
        name=found.name,
        action=step.action,
        was=type(found.module).__name__,
        kind=found.kind,
        also=tuple(name for name in found.names if name != found.name),
        now=str(step.norm) if step.norm is not None else "",
        channels=step.slot.channels if step.slot is not None else 0,
        layout=step.slot.layout if step.slot is not None else "",
        role=found.role,
        reason=step.reason,
        notes=(*step.notes, *(carried.notes if carried else ())),
        lost=carried.lost if carried else (),
    )
