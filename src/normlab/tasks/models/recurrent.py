"""Recurrent networks with norms on what goes into their gates."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn

from normlab.norms.slot import Slot
from normlab.tasks.models.parts import start_gain
from normlab.tasks.spec import MakeNorm

Cell = Literal["lstm", "gru"]
FORGET_BIAS = 1.0


class StepNorm(nn.Module):
    """A norm that is applied at every step of a sequence, with a state of its own at each.

    Parameters are shared by all steps; running statistics belong to a step (T. Cooijmans et al., 2016,
    arXiv:1603.09025).

    Arguments:
        norm: the norm of the first step.
        steps: how many states there are; steps beyond use the last.
    """

    def __init__(self, norm: nn.Module, steps: int) -> None:
        super().__init__()
        shared = {id(parameter): parameter for parameter in norm.parameters()}
        copies = [deepcopy(norm, dict(shared)) for _ in range(steps - 1)]
        self.steps = nn.ModuleList([norm, *copies])

    def forward(self, x: Tensor, step: int) -> Tensor:
        """``x`` normalized with the state of that step."""
        norm: nn.Module = self.steps[min(step, len(self.steps) - 1)]
        return norm(x)  # type: ignore[no-any-return]


class LSTMCell(nn.Module):
    """One step of a long short-term memory with norms a, b and c.

        i, f, o, g = a(W x + b0) + b(U h)
        c' = sigmoid(f + 1) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c(c'))

    The norms stand as in T. Cooijmans et al., 2016, arXiv:1603.09025 and J. Ba et al., 2016, arXiv:1607.06450; the
    forget gate starts open by 1 as in R. Jozefowicz et al., 2015.
    """

    gates = 4

    def __init__(self, inputs: int, hidden: int, norms: Callable[[Slot], StepNorm]) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, self.gates * hidden)
        self.recurrent = nn.Linear(hidden, self.gates * hidden, bias=False)
        self.input_norm = norms(Slot(self.gates * hidden, layer="cell.input", role="input-gate"))
        self.recurrent_norm = norms(Slot(self.gates * hidden, layer="cell.recurrent", role="recurrent-gate"))
        self.cell_norm = norms(Slot(hidden, role="cell"))

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The state before the first step: output and cell, all 0."""
        zeros = x.new_zeros(len(x), self.hidden)
        return zeros, zeros

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor], step: int) -> tuple[Tensor, Tensor]:
        """The state after the step."""
        h, c = state
        gates = self.input_norm(self.input(x), step) + self.recurrent_norm(self.recurrent(h), step)
        i, f, o, g = gates.chunk(self.gates, dim=-1)
        c = torch.sigmoid(f + FORGET_BIAS) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.cell_norm(c, step)), c


class GRUCell(nn.Module):
    """One step of a gated recurrent unit (K. Cho et al., 2014, arXiv:1406.1078) with norms a and b.

        (r, z, n), (r', z', n') = a(W x + b0), b(U h)
        h' = (1 - sigmoid(z + z')) tanh(n + sigmoid(r + r') n') + sigmoid(z + z') h

    The reset gate comes behind the recurrent product, as in torch and cuDNN.
    """

    gates = 3

    def __init__(self, inputs: int, hidden: int, norms: Callable[[Slot], StepNorm]) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, self.gates * hidden)
        self.recurrent = nn.Linear(hidden, self.gates * hidden, bias=False)
        self.input_norm = norms(Slot(self.gates * hidden, layer="cell.input", role="input-gate"))
        self.recurrent_norm = norms(Slot(self.gates * hidden, layer="cell.recurrent", role="recurrent-gate"))

    def start(self, x: Tensor) -> tuple[Tensor]:
        """The state before the first step: all 0."""
        return (x.new_zeros(len(x), self.hidden),)

    def forward(self, x: Tensor, state: tuple[Tensor], step: int) -> tuple[Tensor]:
        """The state after the step."""
        (h,) = state
        r, z, n = self.input_norm(self.input(x), step).chunk(self.gates, dim=-1)
        r_h, z_h, n_h = self.recurrent_norm(self.recurrent(h), step).chunk(self.gates, dim=-1)
        keep = torch.sigmoid(z + z_h)
        return ((1 - keep) * torch.tanh(n + torch.sigmoid(r + r_h) * n_h) + keep * h,)


CELLS: dict[Cell, type[LSTMCell] | type[GRUCell]] = {"lstm": LSTMCell, "gru": GRUCell}


class RecurrentNet(nn.Module):
    """A recurrent cell over a sequence, and a linear layer on its last output.

    Slots of the roles ``input-gate``, ``recurrent-gate`` and (LSTM) ``cell``; ``output``, on the last output, stays
    empty unless a study names it.

    Arguments:
        cell: which cell.
        shape: steps of a sequence, and features of a step.
        outputs: of the linear layer.
        hidden: units of the cell.
        per_step: whether each step has running statistics of its own.
        gain: where the gains of the norms in the cell start.
        make_norm: makes what stands in a slot.
    """

    def __init__(
        self,
        cell: Cell,
        shape: tuple[int, int],
        outputs: int,
        hidden: int,
        per_step: bool,
        gain: float,
        make_norm: MakeNorm,
    ) -> None:
        super().__init__()
        self.shape = shape
        steps, features = shape

        def norms(slot: Slot) -> StepNorm:
            return StepNorm(start_gain(make_norm(slot), gain), steps if per_step else 1)

        self.cell = CELLS[cell](features, hidden, norms)
        self.norm = make_norm(Slot(hidden, role="output", optional=True))
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs behind the last step; ``x`` is samples, steps, features, or flat."""
        x = x.reshape(len(x), *self.shape)
        state = self.cell.start(x)
        for step, values in enumerate(x.unbind(dim=1)):
            state = self.cell(values, state, step)
        return self.linear(self.norm(state[0]))  # type: ignore[no-any-return]
