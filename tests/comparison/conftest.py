"""Small models and data of a user's."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from torch import nn

Arrays = tuple[np.ndarray, np.ndarray]


def small_cnn() -> nn.Module:
    """The net of the task digits-cnn with two narrow layers, in plain PyTorch."""
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


@pytest.fixture(scope="session")
def digits() -> Arrays:
    """Some of scikit-learn's digits, flat."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images[:400] / 16).astype(np.float32), labels[:400].astype(np.int64)
