"""Parts that several models share."""

from __future__ import annotations

import torch
from torch import nn

from normlab.tasks.structure import Activation


def activation(name: Activation) -> nn.Module:
    """The nonlinearity of that name."""
    kinds: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
    return kinds[name]()


def start_gain(norm: nn.Module, value: float) -> nn.Module:
    """The norm, its gain (gamma) filled with ``value`` where it has one: the parameter ``weight``.

    >>> start_gain(nn.BatchNorm1d(2), 0.1).weight.tolist()
    [0.10000000149011612, 0.10000000149011612]
    """
    gain = dict(norm.named_parameters(recurse=False)).get("weight")
    if gain is not None:
        nn.init.constant_(gain, value)
    return norm


class ScaledLinear(nn.Linear):
    """A linear layer that starts from X. Glorot and Y. Bengio's (2010) normal distribution times a factor, biases 0."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        self.factor = factor
        super().__init__(inputs, outputs)

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        nn.init.xavier_normal_(self.weight, gain=self.factor)
        with torch.no_grad():
            self.bias.zero_()
