"""What operations on the norms of a model have in common: the model to work on, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError
from normlab.norms.copying import copied
from normlab.surgery.obstacles import refuse
from normlab.tables import as_html, plural

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1


@dataclass(frozen=True)
class Change:
    """A layer that an operation changed.

    Arguments:
        name: its first name in the model; empty where the model itself is the layer.
        was: its class before.
        now: its class afterwards.
        also: its other names.
        figures: numbers of this layer, by what they are.
        note: what must be known of it.
    """

    name: str
    was: str
    now: str
    also: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Left:
    """A layer that an operation left as it was.

    Arguments:
        name: its first name in the model.
        layer: its class.
        reason: why it was left.
    """

    name: str
    layer: str
    reason: str


@dataclass(frozen=True)
class OperationReport:
    """What an operation did to a model, and what it did not do, with the reasons.

    Arguments:
        operation: the name of the function, such as ``"freeze"``.
        changes: the layers that it changed.
        left: the layers in question that it left as they were.
        figures: numbers of the whole model, by what they are.
        notes: what must be known of the result.

    >>> print(OperationReport("freeze", (Change("1", "BatchNorm1d", "FrozenNorm"),)).text())
    freeze: 1 layer changed, none left as it was
      1: BatchNorm1d -> FrozenNorm
    """

    operation: str
    changes: tuple[Change, ...] = ()
    left: tuple[Left, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The first names of the layers that were changed."""
        return tuple(change.name for change in self.changes)

    def reason(self, name: str) -> str:
        """Why the layer of that name was left as it was.

        Raises:
            KeyError: it was not.
        """
        reasons = {left.name: left.reason for left in self.left}
        return reasons[name]

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return as_html([self.text()])

    def text(self) -> str:
        """All of it, a line for each layer."""
        kept = f"{len(self.left)} left as {'it was' if len(self.left) == 1 else 'they were'}"
        head = f"{self.operation}: {plural(len(self.changes), 'layer')} changed"
        none = "none left as it was" if self.changes else "as there is none that this is about"
        lines = [f"{head}, {kept if self.left else none}"]
        lines += [f"  {_line(change)}" for change in self.changes]
        lines += [f"  {left.name or 'the model'} ({left.layer}) left: {left.reason}" for left in self.left]
        lines += [f"  {name}: {in_figures(value)}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, in names that stay stable."""
        return {
            "schema": SCHEMA,
            "operation": self.operation,
            "layers": [
                {
                    "name": change.name,
                    "also": list(change.also),
                    "was": change.was,
                    "now": change.now,
                    "figures": dict(change.figures),
                    "note": change.note,
                }
                for change in self.changes
            ],
            "left": [{"name": left.name, "layer": left.layer, "reason": left.reason} for left in self.left],
            "figures": dict(self.figures),
            "notes": list(self.notes),
        }


def _line(change: Change) -> str:
    also = f" (also {', '.join(change.also)})" if change.also else ""
    what = change.was if change.was == change.now else f"{change.was} -> {change.now}"
    figures = "".join(f", {name} {in_figures(value)}" for name, value in change.figures.items())
    return f"{change.name or 'the model'}{also}: {what}{figures}{f'; {change.note}' if change.note else ''}"


def in_figures(value: float) -> str:
    """A number for people: a count as it is, else three significant digits.

    >>> in_figures(0.0012345), in_figures(51200)
    ('0.00123', '51200')
    """
    return f"{value:.0f}" if isinstance(value, int) else f"{value:.3g}"


def model_of(model: nn.Module, copy: bool) -> nn.Module:
    """The model whose layers an operation replaces: a copy, or the model itself.

    Raises:
        InputError: it is compiled, wrapped, scripted or quantized, a lazy layer has not seen a batch yet, it keeps
            something that cannot be copied, or ``copy`` is neither True nor False.
    """
    refuse(model)
    return model_or_copy(model, copy)


def model_or_copy(model: nn.Module, copy: bool) -> nn.Module:
    """The same for an operation that replaces no layers, so that a model may be compiled or wrapped.

    Raises:
        InputError: it keeps something that cannot be copied, or ``copy`` is neither True nor False.
    """
    if copy not in (True, False):
        raise InputError("`copy` must be True or False", repr(copy), "Leave it out for a copy.")
    return copied(model) if copy else model
