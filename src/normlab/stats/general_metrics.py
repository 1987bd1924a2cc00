"""The metrics that runs on any task may have, whatever is held out: of the losses and of the way they went."""

from __future__ import annotations

from collections.abc import Mapping

from normlab.stats import formulas
from normlab.stats.learning import learned
from normlab.stats.metric import LOSS_MARGIN, Metric
from normlab.stats.noise import NOISE_METRICS

FROM_LOSSES: tuple[Metric, ...] = (
    Metric(
        "final_loss",
        "final loss",
        "canonical loss at the end: whole training set, evaluation mode, population statistics",
        ("canonical_loss",),
        formulas.last("canonical_loss"),
        margin=LOSS_MARGIN,
        family="secondary",
    ),
    Metric(
        "final_batch_loss",
        "final batch loss",
        "mean loss of the training batches of the last epoch, with all the noise of its batches",
        ("training_loss",),
        formulas.final_batch_loss,
        margin=LOSS_MARGIN,
    ),
    Metric(
        "early_log_loss",
        "early batch loss",
        "mean logarithm of the loss of the training batches over the first quarter of the steps",
        ("training_loss",),
        formulas.early_log_loss,
        margin=0.05,
        scale="log",
        family="secondary",
    ),
    Metric(
        "early_log_canonical_loss",
        "early loss",
        "mean logarithm of the canonical loss over the first quarter of the steps: the lower, the faster the loss "
        "falls at first",
        ("canonical_loss",),
        formulas.early_log_canonical_loss,
        margin=0.05,
        scale="log",
        family="secondary",
        points=2,
    ),
    Metric(
        "early_drop",
        "loss left after a quarter",
        "canonical loss after a quarter of the steps as a share of that before the first step: 0.2 says that four "
        "fifths of the loss are gone by then; the lower, the quicker the drop",
        ("canonical_loss",),
        formulas.early_drop,
        margin=LOSS_MARGIN,
        points=2,
    ),
)

FROM_RUNNING: tuple[Metric, ...] = (
    Metric(
        "running_loss",
        "final loss under running statistics",
        "the final loss as a deployed model gives it: with the running statistics that training left in place of "
        "population statistics",
        ("running_loss",),
        formulas.last("running_loss"),
        margin=LOSS_MARGIN,
    ),
    Metric(
        "running_gap",
        "gap of running statistics",
        "logarithm of the final loss under running statistics over that under population statistics: 0 if the "
        "running statistics are as good, 0.1 if they cost about 10% of loss",
        ("canonical_loss", "running_loss"),
        formulas.log_ratio("running_loss", "canonical_loss"),
        margin=LOSS_MARGIN,
        scale="log",
    ),
)

FROM_THE_WAY: tuple[Metric, ...] = (
    Metric(
        "gradient_norm",
        "late gradient norm",
        "median Euclidean norm of the gradient over the tail",
        ("gradient_norm",),
        formulas.tail_gradient,
        margin=0.2,
    ),
    Metric(
        "roughness",
        "roughness",
        f"how far the log canonical loss travelled, looked at after each of {formulas.PARTS} equal parts of training, "
        "over how far it got: 1 if it never rises between two looks, 2 if half of the way was up and down again",
        ("canonical_loss",),
        formulas.roughness,
        margin=LOSS_MARGIN,
        points=formulas.PARTS + 1,
    ),
    Metric(
        "batch_roughness",
        "roughness of the batch loss",
        f"how far the log batch loss travelled, averaged over each of {formulas.PARTS} equal parts of training, over "
        "how far it got: what an eye sees of the curve of training losses",
        ("training_loss",),
        formulas.batch_roughness,
        margin=LOSS_MARGIN,
        points=formulas.PARTS,
    ),
    Metric(
        "projected_gain",
        "projected gain",
        "share by which the final loss would still fall if the steps were doubled, by a power law through the tail; "
        "below 1% counts as converged",
        ("canonical_loss",),
        formulas.projected_gain("canonical_loss"),
        margin=0.01,
        scale="difference",
        points=2,
    ),
)

SEED_SPREAD = Metric(
    "seed_spread",
    "spread of the final loss over seeds",
    "standard deviation over seeds of the logarithm of the final loss: how much a result depends on the seed",
    ("canonical_loss",),
    formulas.last("canonical_loss"),
    margin=0.2,
    family="exploratory",
    spread_of="final_loss",
)

GENERAL: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (*FROM_LOSSES, *NOISE_METRICS, *FROM_RUNNING, *FROM_THE_WAY, learned(), SEED_SPREAD)
}
"""The metrics that any task has."""
