"""Dropout by given masks, so that every engine and every norm drops the same units."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@lru_cache(maxsize=1)
def dropout_type() -> type[nn.Module]:
    """The module's class, made on first use because it is torch's."""
    import torch
    from torch import nn

    class MaskedDropout(nn.Module):
        """Multiplies by ``mask`` in training, which holds 0 or 1 / (1 - p) for each sample and unit.

        Formula of N. Srivastava et al., 2014, JMLR 15, in the inverted form: nothing is left to do in evaluation.
        """

        mask: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.ones(()), persistent=False)

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * self.mask if self.training else inputs

    return MaskedDropout


def make_dropout() -> Any:
    """A dropout layer that waits for its mask."""
    return dropout_type()()
