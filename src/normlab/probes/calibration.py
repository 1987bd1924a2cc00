"""Whether a deployed classifier is as sure as it is right, on held-out data.

With probabilities p by softmax of the outputs, in evaluation mode with running statistics:

- NLL: mean of -log p of the true class
- Brier score: mean over samples of the sum over classes of (p - 1[true])^2 (G. Brier, 1950)
- ECE: over 15 bins of equal width of the largest p, mean of |accuracy - mean largest p| weighted by samples
  (C. Guo, G. Pleiss, Y. Sun and K. Weinberger, 2017, arXiv:1706.04599, equation 3)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.probes.spec import Probe, Quantity, Snapshot
from normlab.tasks.losses import CROSS_ENTROPY

if TYPE_CHECKING:
    from torch import Tensor

BINS = 15


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``test_nll``, ``test_brier`` and ``test_ece`` and so on, where cross-entropy trains a classifier."""
    closeup = now.closeup()
    if closeup.main is None or closeup.loss.name != CROSS_ENTROPY.name:
        return {}
    samples = closeup.parts[closeup.main]
    values = calibration(closeup.outputs(samples), samples[1])
    return {f"{closeup.main}_{name}": value for name, value in values.items()}


def calibration(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """The quantities of logits, classes last, and true classes.

    >>> import torch
    >>> values = calibration(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0]))
    >>> {name: round(value, 4) for name, value in values.items()}
    {'nll': 0.6931, 'brier': 0.5, 'ece': 0.5}
    """
    import torch

    logits, classes = outputs.double().reshape(-1, outputs.shape[-1]), targets.reshape(-1)
    logs = logits.log_softmax(dim=1)
    probabilities = logs.exp()
    true = torch.nn.functional.one_hot(classes, logits.shape[1])
    sure, said = probabilities.max(dim=1)
    bins = (sure * BINS).ceil().clamp(1, BINS).long() - 1  # (0, 1/15], (1/15, 2/15], ...
    gaps = torch.zeros(BINS, dtype=torch.float64, device=sure.device)
    gaps.index_add_(0, bins, (said == classes).double() - sure)
    return {
        "nll": -float(logs.gather(1, classes[:, None]).mean()),
        "brier": float((probabilities - true).square().sum(dim=1).mean()),
        "ece": float(gaps.abs().sum() / len(classes)),
    }


CALIBRATION = Probe(
    "calibration",
    "likelihood and calibration of a deployed classifier on held-out data",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "{part}_nll",
            "{part} NLL",
            "mean negative log-likelihood on the held-out {part} set, with the running statistics that training left",
        ),
        Quantity(
            "{part}_brier",
            "{part} Brier score",
            "mean squared distance of the probabilities of all classes from the truth on the held-out {part} set, with "
            "running statistics",
        ),
        Quantity(
            "{part}_ece",
            "{part} calibration error",
            "expected calibration error on the held-out {part} set, with running statistics: mean gap between how sure "
            "and how often right the model is, over 15 bins of equal width",
            scale="difference",
        ),
    ),
)
