"""Optimizers that follow a change of layers: their groups in place, and their state where it still fits."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

from normlab.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

State = Literal["kept", "fresh", "cleared"]


@dataclass(frozen=True)
class Place:
    """A parameter in an optimizer that was replaced, removed or added.

    Arguments:
        group: the number of its group.
        old: the parameter that was there; None where there was none.
        new: the parameter that is there now; None where there is none.
        state: whether what the optimizer knew of the old one was kept for the new one, was cleared, or whether it
            knew nothing, so that the new one starts fresh.
    """

    group: int
    old: nn.Parameter | None
    new: nn.Parameter | None
    state: State


@dataclass(frozen=True)
class OptimizerRepair:
    """What was changed in an optimizer, and the way back.

    Arguments:
        places: the parameters that were replaced, removed or added.
        remarks: what else the user should know.
    """

    places: tuple[Place, ...]
    remarks: tuple[str, ...]
    _optimizer: Optimizer = field(repr=False)
    _before: _Contents = field(repr=False)

    @property
    def text(self) -> str:
        """The repair in one line."""
        replaced = [place for place in self.places if place.old is not None and place.new is not None]
        removed = sum(place.new is None for place in self.places)
        added = sum(place.old is None for place in self.places)
        kept = sum(place.state == "kept" for place in replaced)
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
    plan = _Plan(optimizer, replaced, added, dict(names or {}))
    known = [*plan.known, *islice(_every(optimizer), _is_flat(optimizer))]
    state = {one: _cloned(optimizer.state[one]) if one in optimizer.state else None for one in known}
    before = _Contents(_parameters(optimizer), _names(optimizer), state, plan.new)
    remarks = list(plan.remarks)
    try:
        if _is_flat(optimizer):
            places = _move_flat(optimizer, plan, remarks)
        else:
            places = tuple(_move(optimizer, place) for place in plan.places)
        _fill(optimizer, plan.parameters, plan.names)
        _initialize(optimizer, places)
    except BaseException:
        before.put_back(optimizer)
        raise
    return OptimizerRepair(places, tuple(remarks), optimizer, before)


def require_same(optimizer: Optimizer, model: nn.Module) -> None:
    """Raises an error unless the optimizer trains parameters of the model.

    Raises:
        InputError: it holds none of them, as the optimizer of another model, or of the one that a copy was made of.
    """
    _require_optimizer(optimizer)
    known = {id(one) for one in _every(optimizer)}
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


class _Plan:
    """Which parameters an optimizer will hold, before anything is changed."""

    def __init__(
        self,
        optimizer: Optimizer,
        replaced: Mapping[nn.Parameter, nn.Parameter | None],
        added: Sequence[tuple[nn.Parameter, nn.Parameter | None]],
        given_names: dict[nn.Parameter, str],
    ) -> None:
        self.places: list[Place] = []
        self.remarks: list[str] = []
        self.parameters: list[list[nn.Parameter]] = []
        self.names: list[list[str]] = []
        old = {id(one) for one in _every(optimizer)}
        followers = self._followers(optimizer, added, old)
        present = set(old)
        names = _names(optimizer)
        for number, parameters in enumerate(_parameters(optimizer)):
            self.parameters.append([])
            self.names.append([])
            for position, parameter in enumerate(parameters):
                name = names[number][position] if names[number] else ""
                successor = replaced.get(parameter, parameter)
                if parameter in replaced and successor is not None and id(successor) in present:
                    successor = None  # two parameters became one, which must take one step only
                if successor is not parameter:
                    self.places.append(Place(number, parameter, successor, "fresh"))
                entered = [] if successor is None else [(successor, given_names.get(successor, name))]
                for other in followers.pop(id(parameter), []):
                    if id(other) not in present:
                        self.places.append(Place(number, None, other, "fresh"))
                        entered.append((other, given_names.get(other, f"{name}.added")))
                present.update(id(one) for one, _ in entered)
                self.parameters[-1] += [one for one, _ in entered]
                self.names[-1] += [text for _, text in entered] if names[number] else []

    @property
    def known(self) -> list[nn.Parameter]:
        """The parameters that leave."""
        return [place.old for place in self.places if place.old is not None]

    @property
    def new(self) -> tuple[nn.Parameter, ...]:
        """The parameters that come."""
        return tuple(place.new for place in self.places if place.new is not None)

    def _followers(
        self,
        optimizer: Optimizer,
        added: Sequence[tuple[nn.Parameter, nn.Parameter | None]],
        old: set[int],
    ) -> dict[int, list[nn.Parameter]]:
        """The new parameters by the known one that they stand behind."""
        followers: dict[int, list[nn.Parameter]] = {}
        left, only_matrices = 0, any(kind.__name__ == "Muon" for kind in type(optimizer).__mro__)
        for parameter, like in added:
            anchor = _anchor(optimizer) if like is None else like
            if anchor is None or id(anchor) not in old or (only_matrices and parameter.ndim != 2):
                left += 1
            else:
                followers.setdefault(id(anchor), []).append(parameter)
        if left:
            self.remarks.append(f"{left} new parameters left out, as it does not train those of their layer")
        return followers


def _anchor(optimizer: Optimizer) -> nn.Parameter | None:
    """The last parameter of the group with the most vectors: gamma and beta are vectors."""
    groups = [group for group in _parameters(optimizer) if group]
    return max(groups, key=lambda group: sum(one.ndim == 1 for one in group))[-1] if groups else None


def _move(optimizer: Optimizer, place: Place) -> Place:
    """Passes on what the optimizer knows of a parameter; says what became of it."""
    if place.old is None:
        return place
    known = optimizer.state.pop(place.old, None)
    if not known:
        return place
    if place.new is None or not _alike(place.old, place.new):
        return replace(place, state="cleared")
    optimizer.state[place.new] = known
    return replace(place, state="kept")


def _move_flat(optimizer: Optimizer, plan: _Plan, remarks: list[str]) -> tuple[Place, ...]:
    """The same for LBFGS, which knows the parameters only as one vector, kept with the first of them."""
    before, after = list(_every(optimizer)), list(chain.from_iterable(plan.parameters))
    fits = len(before) == len(after) and all(map(_alike, before, after))
    known = optimizer.state.pop(before[0], None) if plan.places and before else None
    if known and fits:
        optimizer.state[after[0]] = known
    elif known:
        remarks.append("its history, which goes over all parameters at once, was cleared")
    fate: State = "fresh" if not known else "kept" if fits else "cleared"
    return tuple(
        place if place.old is None else Place(place.group, place.old, place.new, fate) for place in plan.places
    )


def _is_flat(optimizer: Optimizer) -> bool:
    import torch

    return isinstance(optimizer, torch.optim.LBFGS)


def _alike(old: nn.Parameter, new: nn.Parameter) -> bool:
    return (old.shape, old.dtype, old.device) == (new.shape, new.dtype, new.device)


def _initialize(optimizer: Optimizer, places: Iterable[Place]) -> None:
    """Adagrad makes its state when it is built, before torch 2.13 only then: a second one makes that of new ones."""
    import torch

    if isinstance(optimizer, torch.optim.Adagrad):
        for place in places:
            if place.new is not None and place.state != "kept":
                group = {**optimizer.param_groups[place.group], "params": [place.new]}
                group.pop("param_names", None)
                start = group["initial_accumulator_value"]
                other = torch.optim.Adagrad([group], initial_accumulator_value=start, fused=group.get("fused"))
                optimizer.state[place.new] = other.state[place.new]


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


def _parameters(optimizer: Optimizer) -> tuple[tuple[nn.Parameter, ...], ...]:
    return tuple(tuple(group["params"]) for group in optimizer.param_groups)


def _names(optimizer: Optimizer) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group.get("param_names", ())) for group in optimizer.param_groups)


def _every(optimizer: Optimizer) -> Iterable[nn.Parameter]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])
