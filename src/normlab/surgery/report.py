"""What a swap did: layer by layer, what was lost, how the outputs changed, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normlab.errors import ExecutionError
from normlab.tables import as_html, plural

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
HEADER = ("layer", "was", "now", "channels", "remarks")


@dataclass(frozen=True)
class SwapEntry:
    """What became of one norm.

    Arguments:
        name: its first name in the model; empty where the model itself is the layer.
        also: its other names.
        action: ``"replace"``; ``"keep"`` where it is what was asked for; ``"leave"`` where it was left alone.
        was: the class that stood there.
        kind: the norm that it computed; empty where that cannot be told.
        now: the norm that stands there; empty where nothing changed.
        channels: the number of channels; 0 where it was not needed.
        layout: the order of the axes of its input; empty where it was not needed.
        role: what it is for.
        reason: why it was kept or left alone.
        notes: what was decided for it.
        lost: what had no place in the new layer.
    """

    name: str
    action: str
    was: str
    kind: str
    also: tuple[str, ...] = ()
    now: str = ""
    channels: int = 0
    layout: str = ""
    role: str = "block"
    reason: str = ""
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def remarks(self) -> str:
        """Reason, notes and losses in one line."""
        lost = (f"lost: {', '.join(self.lost)}",) if self.lost else ()
        return "; ".join(part for part in (self.reason, *self.notes, *lost) if part)

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of its row in the table of a report."""
        names = ", ".join((self.name or "(the model)", *self.also))
        now = self.now or ("as it was" if self.action == "keep" else "left alone")
        return (names, self.was, now, str(self.channels or ""), self.remarks)


@dataclass(frozen=True)
class SwapReport:
    """What `normlab.swap` did, and what it left alone, with the reasons.

    Arguments:
        to: what was asked for.
        entries: one for each norm of the model, in its order.
        changes: how far the outputs on the example inputs moved, ``"evaluation"`` and ``"training"`` mode: the length
            of the difference over the length of the outputs before; empty without example inputs.
        notes: what else was done, such as hooks that were carried over.
        warnings: what must be known of the result.
        optimizer: what was changed in the optimizer, in a line; empty without one.
        applied: whether it was done; not where only the plan was asked for.
    """

    to: str
    entries: tuple[SwapEntry, ...]
    changes: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    optimizer: str = ""
    applied: bool = True
    _undo: Callable[[], nn.Module] | None = field(default=None, repr=False, compare=False)

    @property
    def replaced(self) -> tuple[str, ...]:
        """The names of the layers that are replaced."""
        return tuple(entry.name for entry in self.entries if entry.action == "replace")

    @property
    def sentence(self) -> str:
        """The outcome in a sentence."""
        counts = {action: sum(entry.action == action for entry in self.entries) for action in ("keep", "leave")}
        done = "replaced" if self.applied else "to replace"
        return (
            f"{plural(len(self.replaced), 'norm')} {done} of {len(self.entries)}, "
            f"{counts['keep']} kept as asked, {counts['leave']} left alone."
        )

    def undo(self) -> nn.Module:
        """Puts the old layers back, with the bytes that they had, their hooks and places in the optimizer.

        What was trained since in other layers stays. Gives the model, which is another object than the swapped one
        only where the model itself is the norm.

        Raises:
            ExecutionError: it is undone already, or only a plan.
            InputError: another layer stands where one was put, as after a later swap of the same model.
        """
        if self._undo is None:
            if not self.applied:
                raise ExecutionError("a plan alone changes nothing that could be undone; call normlab.swap")
            raise ExecutionError(
                "a swap is undone once, by the report that it gave and no copy of it: the old layers are back in the "
                "model that undo() gave; a later swap is undone by its own report"
            )
        model = self._undo()
        object.__setattr__(self, "_undo", None)
        return model

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_undo": None}  # a copy, or one that comes from a file, knows no model

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The table: for each norm its names, what it was, what it is now, its channels, and what must be known."""
        return tuple(entry.row for entry in self.entries)

    def text(self) -> str:
        """The report as a table in plain text, with what changed behind it."""
        rows = [HEADER, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", self.sentence, *self.remarks])

    def _repr_html_(self) -> str:
        return as_html([self.sentence, *self.remarks], HEADER, self.rows)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is said below the table: changes of the outputs, the optimizer, warnings."""
        moved = [f"Outputs in {mode} mode moved by {part:.3g} of their length." for mode, part in self.changes.items()]
        notes = [f"Note: {note}." for note in self.notes]
        repaired = [f"{self.optimizer}."] if self.optimizer else []
        return (*moved, *repaired, *notes, *(f"Warning: {text}." for text in self.warnings))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, in names that stay stable."""
        return {
            "schema": SCHEMA,
            "to": self.to,
            "applied": self.applied,
            "replaced": len(self.replaced),
            "changes": dict(self.changes),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "optimizer": self.optimizer,
            "layers": [
                {
                    "name": entry.name,
                    "also": list(entry.also),
                    "action": entry.action,
                    "was": entry.was,
                    "kind": entry.kind,
                    "now": entry.now,
                    "channels": entry.channels,
                    "layout": entry.layout,
                    "role": entry.role,
                    "reason": entry.reason,
                    "notes": list(entry.notes),
                    "lost": list(entry.lost),
                }
                for entry in self.entries
            ],
        }

    def __str__(self) -> str:
        return self.text()
