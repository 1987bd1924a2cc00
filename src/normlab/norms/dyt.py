"""Dynamic tanh: a bounded elementwise map in the place of a norm, without any statistics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from normlab.norms.spec import NormSpec, Option, OptionValue
from normlab.records import Slot

if TYPE_CHECKING:
    from torch import Tensor, nn


@lru_cache(maxsize=1)
def _dyt_type() -> type[nn.Module]:
    """The layer's class, made on first use because it is torch's."""
    import torch
    from torch import nn

    class DynamicTanh(nn.Module):
        """gamma tanh(alpha x) + beta, with gamma and beta along axis ``axis`` and one alpha for the layer."""

        def __init__(self, channels: int, alpha: float, trailing: int) -> None:
            super().__init__()
            self.alpha = nn.Parameter(torch.full((1,), alpha))
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))
            self.shape = (channels, *[1] * trailing)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.weight.view(self.shape) * torch.tanh(self.alpha * inputs) + self.bias.view(self.shape)

    return DynamicTanh


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer, with gamma and beta for each channel of the slot."""
    trailing = 0 if slot.layout == "NLC" else len(slot.layout) - 2
    return _dyt_type()(slot.channels, float(options["alpha"]), trailing)


DYT = NormSpec(
    name="dyt",
    title="DyT",
    formula="y = gamma tanh(alpha x) + beta, with one learned alpha for the layer",
    source="Zhu, Chen, He, LeCun and Liu, 2025, arXiv:2503.10622",
    axes={"NC": (), "NCL": (), "NCHW": (), "NCDHW": (), "NLC": ()},
    centred=False,
    scaled=False,
    couples_batch=False,
    train="Squashes every element by itself; no statistics are taken.",
    evaluate="The same as in training.",
    suits="Transformers, as a replacement of LayerNorm that needs no reduction.",
    breaks="A poor starting alpha: too large saturates and stops gradients, too small leaves the scale unbounded.",
    build=build,
    options=(Option("alpha", 0.5, "where alpha starts", at_least=0),),
    affine="alpha (one for the layer), gamma (starts at 1) and beta (starts at 0) for each channel",
)
