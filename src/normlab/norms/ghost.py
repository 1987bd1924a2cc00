"""Ghost batch normalization: batch normalization of every chunk of a batch by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.batch import AFFINE, BATCH, BIAS, CUMULATIVE, MOMENTUM, OPACUS, SOME_EPS, momentum_of
from normlab.norms.layouts import SPATIAL
from normlab.norms.slot import Slot
from normlab.norms.spec import Option, OptionValue, exempt_none

if TYPE_CHECKING:
    from torch import nn


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer for the slot's number of axes; its state dict is that of torch's BatchNorm."""
    kinds = {
        "NC": norms.GhostBatchNorm1d,
        "NCL": norms.GhostBatchNorm1d,
        "NCHW": norms.GhostBatchNorm2d,
        "NCDHW": norms.GhostBatchNorm3d,
    }
    return kinds[slot.layout](
        slot.channels,
        size=int(options["size"]),
        eps=options["eps"],
        momentum=momentum_of(options),
        affine=bool(options["affine"]),
        bias=bool(options["bias"]),
    )


GHOST = replace(
    BATCH,
    name="ghost",
    title="Ghost BatchNorm",
    formula="BatchNorm of each chunk of `size` samples of the batch, with gamma and beta shared by all chunks",
    source="Hoffer, Hubara and Soudry, 2017, arXiv:1705.08741",
    axes={layout: ("N/S", *spatial) for layout, spatial in SPATIAL.items()},
    train=(
        "Cuts the batch into chunks of `size` samples (a last one of a single sample joins the one before) and "
        "normalizes each by its own mean and biased variance; running statistics move at every chunk."
    ),
    evaluate="The same as BatchNorm: the running statistics.",
    suits="Large batches, where BatchNorm's noise would be too small to regularize.",
    breaks="The same as BatchNorm with a batch of `size`; with chunks of 2 only +-1 comes out on N,C input.",
    build=build,
    options=(Option("size", 32, "samples in a chunk", at_least=2), SOME_EPS, MOMENTUM, AFFINE, BIAS, CUMULATIVE),
    exemptions=exempt_none,
    libraries={
        "torch": "none",
        "composer": "GhostBatchNorm cuts the batch into chunks of equal size, none of them of `size` where that does "
        "not divide the batch, and divides the momentum by the number of chunks: its running statistics move about as "
        "far in a step as BatchNorm's, ours further.",
        "timm": "SplitBatchNorm2d splits a batch into a number of parts with a layer for each.",
        "flax": "none",
        "keras": "virtual_batch_size in Keras 2 only.",
        "opacus": OPACUS,
    },
    exceptions={"dynamic export": "the number of chunks is part of the program, in training: one for each batch size"},
    defaults="chunks of 128 samples for batches of 4096 in the source; 32 in composer",
)
