"""Which parameters an optimizer will hold after layers were replaced, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

State = Literal["kept", "fresh", "cleared"]


@dataclass(frozen=True)
class ParameterChange:
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


class OptimizerPlan:
    """Which parameters an optimizer will hold.

    Arguments:
        optimizer: the optimizer, which is only read.
        replaced, added: as for `normlab.surgery.optimizers.repair`.
        given_names: the names of new parameters.

    Attributes:
        changes: what enters and leaves.
        remarks: what the user should know.
        parameters: those that it will hold, group by group.
        names: theirs, where the optimizer has names.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        replaced: Mapping[nn.Parameter, nn.Parameter | None],
        added: Sequence[tuple[nn.Parameter, nn.Parameter | None]],
        given_names: dict[nn.Parameter, str],
    ) -> None:
        self.changes: list[ParameterChange] = []
        self.remarks: list[str] = []
        self.parameters: list[list[nn.Parameter]] = []
        self.names: list[list[str]] = []
        old = {id(one) for one in every_parameter(optimizer)}
        followers = self._followers(optimizer, added, old)
        present = set(old)
        names = names_of(optimizer)
        for number, parameters in enumerate(parameters_of(optimizer)):
            self.parameters.append([])
            self.names.append([])
            for position, parameter in enumerate(parameters):
                name = names[number][position] if names[number] else ""
                successor = replaced.get(parameter, parameter)
                if parameter in replaced and successor is not None and id(successor) in present:
                    successor = None  # two parameters became one, which must take one step only
                if successor is not parameter:
                    self.changes.append(ParameterChange(number, parameter, successor, "fresh"))
                entered = [] if successor is None else [(successor, given_names.get(successor, name))]
                for other in followers.pop(id(parameter), []):
                    if id(other) not in present:
                        self.changes.append(ParameterChange(number, None, other, "fresh"))
                        entered.append((other, given_names.get(other, f"{name}.added")))
                present.update(id(one) for one, _ in entered)
                self.parameters[-1] += [one for one, _ in entered]
                self.names[-1] += [text for _, text in entered] if names[number] else []

    @property
    def leaving(self) -> list[nn.Parameter]:
        """The parameters that leave."""
        return [change.old for change in self.changes if change.old is not None]

    @property
    def coming(self) -> tuple[nn.Parameter, ...]:
        """The parameters that come."""
        return tuple(change.new for change in self.changes if change.new is not None)

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
    groups = [group for group in parameters_of(optimizer) if group]
    return max(groups, key=lambda group: sum(one.ndim == 1 for one in group))[-1] if groups else None


def parameters_of(optimizer: Optimizer) -> tuple[tuple[nn.Parameter, ...], ...]:
    """The parameters of an optimizer, group by group."""
    return tuple(tuple(group["params"]) for group in optimizer.param_groups)


def names_of(optimizer: Optimizer) -> tuple[tuple[str, ...], ...]:
    """Their names, group by group; none where the optimizer was made without."""
    return tuple(tuple(group.get("param_names", ())) for group in optimizer.param_groups)


def every_parameter(optimizer: Optimizer) -> Iterable[nn.Parameter]:
    """All of its parameters, one group behind the other."""
    return (parameter for group in optimizer.param_groups for parameter in group["params"])
