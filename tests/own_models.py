"""A user's model in plain PyTorch, for tests of comparisons."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from torch import nn

Arrays = tuple[np.ndarray, np.ndarray]


def small_cnn() -> nn.Module:
    """The net of the task digits-cnn with two narrow layers."""
    return nn.Sequential(
        OrderedDict(
            image=nn.Unflatten(1, (1, 8, 8)),
            convolution1=nn.Conv2d(1, 8, 3, padding=1),
            norm1=nn.BatchNorm2d(8),
            activation1=nn.ReLU(),
            convolution2=nn.Conv2d(8, 12, 3, stride=2, padding=1),
            norm2=nn.BatchNorm2d(12),
            activation2=nn.ReLU(),
            mean=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            linear=nn.Linear(12, 10),
        )
    )
