"""Data of a user's."""

from __future__ import annotations

import numpy as np
import pytest

from own_models import Arrays


@pytest.fixture(scope="session")
def digits() -> Arrays:
    """Some of scikit-learn's digits, flat."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images[:400] / 16).astype(np.float32), labels[:400].astype(np.int64)
