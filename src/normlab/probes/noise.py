"""The three sources that make the loss of a training batch fluctuate.

With L the canonical loss at the weights of a step, the loss of its batch in training mode is

    L + [population-mode loss of the batch - L] + [training-mode loss - population-mode loss]

that is, *iterate* + *sampling* + *batch-statistics*.
"""

from __future__ import annotations

from collections.abc import Mapping

from normlab.probes.spec import Probe, Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``noise_canonical``, ``noise_population`` and ``noise_training``: the three losses."""
    return {
        "noise_canonical": now.loss("training", "population"),
        "noise_population": now.loss("batch", "population"),
        "noise_training": now.batch_loss(),
    }


NOISE = Probe("noise", "the three losses that take late fluctuation apart", "tail", measure)
