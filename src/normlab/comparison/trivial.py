"""What learning nothing gives: the loss and the scores of the best answer that is the same for every sample."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from normlab.comparison.objective import Objective
from normlab.comparison.wrappers import tensors
from normlab.tasks.data import Array, Data, main_part

if TYPE_CHECKING:
    import torch

MOST_SAMPLES, FEWEST_SAMPLES = 4096, 8  # to fit the answer to
MOST_NUMBERS = 2**22  # of outputs of all these samples; outputs so large that few fit have no baseline


def trivial_scores(objective: Objective, data: Data) -> dict[str, float]:
    """Scores and loss on held-out data of the outputs that suit the training data best without a look at the inputs.

    Those are the shares of the classes for a cross-entropy, the mean for a squared error, the median for an absolute
    one: found by minimizing the loss itself, so that any loss of outputs and targets has them.

    Arguments:
        objective: what is minimized.
        data: of a seed, or the fixed parts.

    Returns:
        The scores first, then ``loss``; empty where the model computes its loss itself, so that no outputs are known.
    """
    import torch

    part = main_part(tuple(data.held_out))
    numbers = int(np.prod(objective.output_shape))
    fitting = min(MOST_SAMPLES, MOST_NUMBERS // max(numbers, 1))
    if not objective.form.targets or part is None or fitting < FEWEST_SAMPLES:
        return {}
    known, asked = (_spread(targets, fitting) for targets in (data.training.targets, data.held_out[part].targets))
    answer = torch.zeros(objective.output_shape, requires_grad=True)
    optimizer = torch.optim.LBFGS([answer], max_iter=100, line_search_fn="strong_wolfe")

    def loss(targets: torch.Tensor) -> torch.Tensor:
        return objective.loss.compute(answer.expand(len(targets), *objective.output_shape), targets)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(known)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    try:
        optimizer.step(step)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            outputs = answer.expand(len(asked), *objective.output_shape)
            values = {score.name: float(score.compute(outputs, asked)) for score in objective.scores}
            values["loss"] = float(loss(asked))
    except Exception:  # whatever a loss of the user's makes of an answer that no model gives
        return {}
    return {name: value for name, value in values.items() if isfinite(value)}


def _spread(targets: Array, most: int) -> torch.Tensor:
    """Targets of samples that lie evenly in the data, which may be sorted."""
    rows = np.linspace(0, len(targets) - 1, min(most, len(targets))).round().astype(int)
    return tensors({"targets": targets[rows]})["targets"]
