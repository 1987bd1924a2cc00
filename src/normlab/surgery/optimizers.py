"""Optimizers that follow a change of layers: their groups in place, and their state where it still fits."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.surgery.optimizer_plan import (
    OptimizerPlan,
    ParameterChange,
    State,
    every_parameter,
    names_of,
    parameters_of,
)

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class OptimizerRepair:
    """What was changed in an optimizer, and the way back.

    Arguments:
        changes: the parameters that were replaced, removed or added.
        remarks: what else the user should know.
    """

    changes: tuple[ParameterChange, ...]
    remarks: tuple[str, ...]
    _optimizer: Optimizer = field(repr=False)
    _before: _Contents = field(repr=False)

    @property
    def text(self) -> str:
        """The repair in one line."""
        replaced = [change for change in self.changes if change.old is not None and change.new is not None]
        removed = sum(change.new is None for change in self.changes)
        added = sum(change.old is None for change in self.changes)
        kept = sum(change.state == "kept" for change in replaced)
        parts = (
            f"{len(replaced)} parameters replaced ({kept} with their state)" if replaced else "",
            f"{removed} removed" if removed else "",
            f"{added} added" if added else "",
            *self.remarks,
        )
        return f"{type(self._optimizer).__name__}: {'; '.join(part for part in parts if part) or 'unchanged'}"

    def undo(self) -> None:
        """Has the optimizer hold what it held before, with the state of the parameters of then as it was."""
        self._before.put_back(self._optimizer)


@dataclass(frozen=True)
class _Contents:
    """The parameters of an optimizer, group by group, their names where it has them, and some of its state."""

    parameters: tuple[tuple[nn.Parameter, ...], ...]
    names: tuple[tuple[str, ...], ...]
    state: Mapping[nn.Parameter, Mapping[str, object] | None]
    new: tuple[nn.Parameter, ...]

    def put_back(self, optimizer: Optimizer) -> None:
        for parameter in self.new:
            optimizer.state.pop(parameter, None)
        for parameter, state in self.state.items():
            if state is not None:
                optimizer.state[parameter] = dict(state)
        _fill(optimizer, self.parameters, self.names)


def repair(
    optimizer: Optimizer,
    replaced: Mapping[nn.Parameter, nn.Parameter | None],
    added: Sequence[tuple[nn.Parameter, nn.Parameter | None]] = (),
    names: Mapping[nn.Parameter, str] | None = None,
) -> OptimizerRepair:
    """Has an optimizer hold the parameters of layers that were put in the place of others, or after an error as before.

    The groups stay the same objects, in which a successor stands at the place of its predecessor; schedulers and
    gradient scalers therefore need no repair. What the optimizer knows of a parameter, such as the moments of Adam,
    passes to a successor of the same shape, type and device. A new parameter stands behind the one that it is like.

    Arguments:
        optimizer: the optimizer, of any kind; changed in place.
        replaced: for parameters that left the model, what took their place; None where nothing did.
        added: further parameters that came, each with one of the same layer as the optimizer knows it, a replaced one
            or not; None where there is none, which puts it in the group of the most parameters with one axis.
        names: the names of new parameters, for optimizers that were made from ``named_parameters()``.

    Raises:
        InputError: it is no optimizer of torch, or one that splits its parameters among processes.

    >>> import torch
    >>> old, new = torch.nn.LayerNorm(3), torch.nn.RMSNorm(3)
    >>> optimizer = torch.optim.AdamW(old.parameters())
    >>> print(repair(optimizer, {old.weight: new.weight, old.bias: None}).text)
    AdamW: 1 parameters replaced (0 with their state); 1 removed
    """
    _require_optimizer(optimizer)
    plan = OptimizerPlan(optimizer, replaced, added, dict(names or {}))
    known = [*plan.leaving, *islice(every_parameter(optimizer), _is_flat(optimizer))]
    state = {one: _cloned(optimizer.state[one]) if one in optimizer.state else None for one in known}
    before = _Contents(parameters_of(optimizer), names_of(optimizer), state, plan.coming)
    remarks = list(plan.remarks)
    try:
        if _is_flat(optimizer):
            changes = _move_flat(optimizer, plan, remarks)
        else:
            changes = tuple(_move(optimizer, change) for change in plan.changes)
        _fill(optimizer, plan.parameters, plan.names)
        _initialize(optimizer, changes)
    except BaseException:
        before.put_back(optimizer)
        raise
    return OptimizerRepair(changes, tuple(remarks), optimizer, before)


def require_same(optimizer: Optimizer, model: nn.Module) -> None:
    """Raises an error unless the optimizer trains parameters of the model.

    Raises:
        InputError: it holds none of them, as the optimizer of another model, or of the one that a copy was made of.
    """
    _require_optimizer(optimizer)
    known = {id(one) for one in every_parameter(optimizer)}
    own = [id(one) for one in model.parameters()]
    if own and known and known.isdisjoint(own):
        raise InputError(
            "`optimizer` must hold parameters of the very model that is changed",
            f"one with {len(known)} parameters, none of which is among the model's {len(own)}",
            "Give `copy=False`, which changes the model that the optimizer knows; or leave `optimizer` out and make it "
            "from the model that comes back.",
        )


def _require_optimizer(optimizer: object) -> None:
    import torch

    name = type(optimizer).__name__
    if not isinstance(optimizer, torch.optim.Optimizer):
        advice = "Give the `torch.optim.Optimizer` itself; wrappers often keep it as their `.optimizer`."
        raise InputError("`optimizer` must be an optimizer of torch", name, advice)
    if any(kind.__name__ == "ZeroRedundancyOptimizer" for kind in type(optimizer).__mro__):
        advice = "Leave `optimizer` out, and make it after the swap."
        raise InputError("`optimizer` must not split its parameters among processes", name, advice)


def _move(optimizer: Optimizer, change: ParameterChange) -> ParameterChange:
    """Passes on what the optimizer knows of a parameter; says what became of it."""
    if change.old is None:
        return change
    known = optimizer.state.pop(change.old, None)
    if not known:
        return change
    if change.new is None or not _alike(change.old, change.new):
        return replace(change, state="cleared")
    optimizer.state[change.new] = known
    return replace(change, state="kept")


def _move_flat(optimizer: Optimizer, plan: OptimizerPlan, remarks: list[str]) -> tuple[ParameterChange, ...]:
    """The same for LBFGS, which knows the parameters only as one vector, kept with the first of them."""
    before, after = list(every_parameter(optimizer)), list(chain.from_iterable(plan.parameters))
    fits = len(before) == len(after) and all(map(_alike, before, after))
    known = optimizer.state.pop(before[0], None) if plan.changes and before else None
    if known and fits:
        optimizer.state[after[0]] = known
    elif known:
        remarks.append("its history, which goes over all parameters at once, was cleared")
    fate: State = "fresh" if not known else "kept" if fits else "cleared"
    return tuple(
        change if change.old is None else ParameterChange(change.group, change.old, change.new, fate)
        for change in plan.changes
    )


def _is_flat(optimizer: Optimizer) -> bool:
    import torch

    return isinstance(optimizer, torch.optim.LBFGS)


def _alike(old: nn.Parameter, new: nn.Parameter) -> bool:
    return (old.shape, old.dtype, old.device) == (new.shape, new.dtype, new.device)


def _initialize(optimizer: Optimizer, changes: Iterable[ParameterChange]) -> None:
    """Adagrad makes its state when it is built, before torch 2.13 only then: a second one makes that of new ones."""
    import torch

    if isinstance(optimizer, torch.optim.Adagrad):
        for change in changes:
            if change.new is not None and change.state != "kept":
                group = {**optimizer.param_groups[change.group], "params": [change.new]}
                group.pop("param_names", None)
                start = group["initial_accumulator_value"]
                other = torch.optim.Adagrad([group], initial_accumulator_value=start, fused=group.get("fused"))
                optimizer.state[change.new] = other.state[change.new]


def _fill(optimizer: Optimizer, parameters: Iterable[Iterable[nn.Parameter]], names: Iterable[Iterable[str]]) -> None:
    """Puts the parameters in the lists that are there: others, such as LBFGS itself, refer to these."""
    for group, own, texts in zip(optimizer.param_groups, parameters, names, strict=True):
        group["params"][:] = own
        if "param_names" in group:
            group["param_names"][:] = texts
    if _is_flat(optimizer):
        vars(optimizer)["_numel_cache"] = None


def _cloned(state: Mapping[str, object]) -> dict[str, object]:
    return copy.deepcopy(dict(state))
