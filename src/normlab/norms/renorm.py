"""Batch renormalization: batch normalization corrected towards the running statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.batch import AFFINE, BATCH, BIAS, CUMULATIVE, MOMENTUM, OPACUS, SOME_EPS, STALLED, momentum_of
from normlab.norms.slot import Slot
from normlab.norms.spec import Option, OptionValue

if TYPE_CHECKING:
    from torch import nn


OPEN = (
    "training then draws on running statistics: invariances and coupling hold only as far as the bounds leave them, "
    "and the gradient is not the derivative of the output, because r and d are constants to it"
)


def _exemptions(options: Mapping[str, OptionValue]) -> Mapping[str, str]:
    """What BatchNorm keeps and this does not where a bound is open from the first step."""
    if options["start"] > 0:
        return {}
    opens = {"rmax_at": options["rmax"] > 1, "dmax_at": options["dmax"] > 0}
    at_once = any(open_ and options[at] == 0 for at, open_ in opens.items())
    return dict.fromkeys(("axes", "batch", "invariances", "gradient"), OPEN) if at_once else {}


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer; all its options have the names of its arguments."""
    return norms.BatchRenorm(
        slot.channels,
        rmax=float(options["rmax"]),
        dmax=float(options["dmax"]),
        start=int(options["start"]),
        rmax_at=int(options["rmax_at"]),
        dmax_at=int(options["dmax_at"]),
        eps=options["eps"],
        momentum=momentum_of(options),
        affine=bool(options["affine"]),
        bias=bool(options["bias"]),
    )


RENORM = replace(
    BATCH,
    name="batch-renorm",
    title="Batch Renorm",
    formula=(
        "y = gamma ((x - mean_B) / sigma_B * r + d) + beta, sigma_B = sqrt(var_B + eps), "
        "r = clip(sigma_B / sigma; 1/rmax, rmax), d = clip((mean_B - mean) / sigma; -dmax, dmax), "
        "r and d constant to the gradient, mean and sigma running averages"
    ),
    source="Ioffe, 2017, arXiv:1702.03275",
    train=(
        "BatchNorm for `start` steps; then the output is drawn towards the one that the running statistics would "
        "give, within bounds that grow to rmax and dmax. The running mean and sigma (biased) move after use."
    ),
    evaluate="Uses the running mean and sigma: y = gamma (x - mean) / sigma + beta.",
    suits="Small batches, and batches that are not drawn independently.",
    breaks=(
        "Runs that are short against its schedule, which only ever see BatchNorm; running statistics that have not "
        "settled when the bounds open; a momentum that is too large for the batch size."
    ),
    build=build,
    options=(
        Option("rmax", 3.0, "the largest correction of the scale; inf for no bound", at_least=1, infinite=True),
        Option("dmax", 5.0, "the largest correction of the shift; inf for no bound", at_least=0, infinite=True),
        Option("start", 5_000, "steps of plain BatchNorm", at_least=0),
        Option("rmax_at", 40_000, "the step at which rmax is reached, from 1", at_least=0),
        Option("dmax_at", 25_000, "the step at which dmax is reached, from 0", at_least=0),
        SOME_EPS,
        replace(MOMENTUM, default=0.01),
        AFFINE,
        BIAS,
        CUMULATIVE,
    ),
    state="running mean and running sigma of each channel, number of batches",
    libraries={
        "torch": "none",
        "timm": "none",
        "flax": "none",
        "keras": "BatchNormalization(renorm=True): bounds are given as renorm_clipping and are open without it, "
        "also r from below where only rmax is given: rmin is a bound of its own. No schedule; a renorm_momentum.",
        "opacus": OPACUS,
    },
    initial="gamma 1, beta 0; running mean 0, running sigma 1",
    defaults="BatchNorm for 5,000 steps, rmax 1 to 3 at step 40,000, dmax 0 to 5 at step 25,000; weight 0.01",
    exceptions={"open bounds": OPEN, "bfloat16 buffers": STALLED},
    buffers={"running_mean": "C", "running_std": "C", "num_batches_tracked": "1"},
    exemptions=_exemptions,
)
