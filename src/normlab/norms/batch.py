"""Batch normalization: statistics of each channel over the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.norms.spec import NormSpec, Option, OptionValue
from normlab.records import Slot

if TYPE_CHECKING:
    from torch import nn


def batch_type(slot: Slot) -> type[nn.Module]:
    """Torch's BatchNorm for the slot's number of spatial axes."""
    from torch import nn

    kinds = {"NC": nn.BatchNorm1d, "NCL": nn.BatchNorm1d, "NCHW": nn.BatchNorm2d, "NCDHW": nn.BatchNorm3d}
    return kinds[slot.layout]


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's BatchNorm for the slot."""
    return batch_type(slot)(
        slot.channels, eps=options["eps"], momentum=options["momentum"], affine=bool(options["affine"])
    )


BATCH = NormSpec(
    name="batch",
    title="BatchNorm",
    formula="y = gamma (x - mean_B) / sqrt(var_B + eps) + beta, of each channel over the batch, biased variance",
    source="Ioffe and Szegedy, 2015, arXiv:1502.03167",
    axes={"NC": ("N",), "NCL": ("N", "L"), "NCHW": ("N", "H", "W"), "NCDHW": ("N", "D", "H", "W")},
    centred=True,
    scaled=True,
    couples_batch=True,
    train=(
        "Uses the mean and biased variance of the current batch, so every output depends on the other samples "
        "of the batch, and moves its running statistics: r <- (1 - momentum) r + momentum * statistic, where "
        "torch keeps the unbiased variance."
    ),
    evaluate="Uses the running statistics: a fixed affine map of each channel, the same for every batch.",
    suits="Convolutional networks with batches of 16 or more samples that are drawn independently.",
    breaks=(
        "Small batches (noisy statistics; at 2 samples of N,C input only +-1 comes out, at 1 it cannot train); "
        "batches that are not drawn independently; running statistics that lag behind in short runs; recurrent "
        "and variable-length input; gradient accumulation, which does not enlarge the batch it sees."
    ),
    build=build,
    options=(
        Option("eps", 1e-5, "added to the variance", at_least=0),
        Option(
            "momentum",
            0.1,
            "weight of the new statistic in the running average, torch's convention",
            at_least=0,
        ),
        Option("affine", True, "whether gamma and beta are learned"),
    ),
    affine="gamma (starts at 1) and beta (starts at 0) for each channel",
    state="running mean and running (unbiased) variance of each channel, number of batches",
)
