"""The sources that make the loss of a training batch fluctuate.

With L the canonical loss at the weights of a step, the loss of its batch in training mode is

    L + [population-mode loss of the batch - L]
      + [training-mode loss without dropout - population-mode loss]
      + [training-mode loss - training-mode loss without dropout]

that is, *iterate* + *sampling* + *batch statistics* + *dropout*. Without dropout the last of them is zero by
construction, and is not measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from normlab.probes.spec import Probe, Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``noise_canonical``, ``noise_population`` and ``noise_training``, and ``noise_without_dropout``."""
    values = {
        "noise_canonical": now.loss("training", "population"),
        "noise_population": now.loss("batch", "population"),
        "noise_training": now.batch_loss(),
    }
    if now.has_dropout:
        values["noise_without_dropout"] = now.batch_loss_without_dropout()
    return values


NOISE = Probe("noise", "the losses that take late fluctuation apart", "tail", measure)
