"""How a user's model is called on a user's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.comparison.table import Table
from normlab.comparison.wrappers import tensors
from normlab.tasks.data import Inputs, Part

if TYPE_CHECKING:
    from torch import nn

Wrap = Callable[["nn.Module"], "nn.Module"]


@dataclass(frozen=True, eq=False)
class Form:
    """How the model is called on data.

    Arguments:
        wrap: makes of the user's model one that takes the inputs of a part and gives outputs or losses.
        inputs: the columns of the data that are inputs.
        targets: the column of targets; empty where the model gives its loss itself.
        single: whether the model takes one array, not arrays by name.
    """

    wrap: Wrap
    inputs: tuple[str, ...]
    targets: str = ""
    single: bool = True

    def part(self, table: Table) -> Part:
        """Inputs and targets of a table."""
        columns = table.columns
        targets = columns[self.targets] if self.targets else np.zeros(len(table), dtype=np.int64)
        targets = targets.astype(np.int64) if targets.dtype.kind in "iub" else targets
        inputs: Inputs = columns[self.inputs[0]] if self.single else {name: columns[name] for name in self.inputs}
        return Part(inputs, targets)

    def inputs_of(self, table: Table, model: nn.Module) -> Any:
        """A table's inputs as the model takes them, in its type: a tuple, or a dictionary of names."""
        columns = tensors({name: table.columns[name] for name in self.inputs}, model)
        return tuple(columns.values()) if self.single else columns
