"""A task of your own: how loud will the next step of a decaying tone be? A regression over sequences.

Beside this file: `normlab run own_task.toml`.
"""

from collections.abc import Callable

import numpy as np
from torch import nn

from normlab import Data, Part, Slot, Task
from normlab.tasks.losses import R2, SQUARED_ERROR


def tones(rng: np.random.Generator, count: int) -> Part:
    """Sequences of 16 values, and the one that follows."""
    frequency, phase, decay = rng.uniform([0.2, 0.0, 0.9], [1.0, 6.3, 1.0], size=(count, 3)).T[..., None]
    steps = np.arange(17)
    values = decay**steps * np.sin(frequency * steps + phase)
    return Part(values[:, None, :16], values[:, 16])


def data(study_seed: int, seed: int) -> Data:
    rng = np.random.default_rng([study_seed, seed])
    return Data(tones(rng, 500), {"test": tones(rng, 500)})


def build(options: object, make_norm: Callable[[Slot], nn.Module]) -> nn.Module:
    """A convolution over the steps, a norm on its 24 channels and 12 positions, and a linear layer."""
    norm = make_norm(Slot(24, "NCL", (12,), layer="0", activation="2"))
    return nn.Sequential(nn.Conv1d(1, 24, 5), norm, nn.ReLU(), nn.Flatten(), nn.Linear(24 * 12, 1))


TITLE = "Next step of a decaying tone"
TONES = Task("tones", TITLE, data, build, SQUARED_ERROR, scores=(R2,), fixed=False, baseline={"r2": 0.0})
