"""No normalization: the baseline of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.norms.spec import NormSpec, OptionValue
from normlab.records import Slot

if TYPE_CHECKING:
    from torch import nn


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The identity."""
    from torch import nn

    return nn.Identity()


NONE = NormSpec(
    name="none",
    title="no norm",
    formula="y = x",
    source="the baseline",
    axes={"NC": (), "NCL": (), "NCHW": (), "NCDHW": (), "NLC": ()},
    centred=False,
    scaled=False,
    couples_batch=False,
    train="Passes its input on.",
    evaluate="Passes its input on.",
    suits="Shallow networks with a good initialization and a tuned learning rate; every comparison, as baseline.",
    breaks="Depth: signals and gradients grow or vanish from layer to layer.",
    build=build,
)
