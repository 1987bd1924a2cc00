"""Figures as data, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One curve of the published chart."""

    norm: str
    label: str
    color: str
    steps: NDArray[np.int64]
    values: Points


@dataclass(frozen=True)
class PublishedChart:
    """The chart of the published study: one seed, the training loss of every step."""

    seed: int
    lines: tuple[Line, ...]
    title: str = "Normalization Techniques Comparison"
    x: str = "Iteration"
    y: str = "Loss"


@dataclass(frozen=True)
class Band:
    """Median and 5-95% band over the seeds of one norm."""

    norm: str
    seeds: int
    steps: NDArray[np.int64]
    median: Points
    low: Points
    high: Points


@dataclass(frozen=True)
class CurvePanel:
    """The curves of all norms on one task in one setting: canonical loss and training loss."""

    title: str
    canonical: tuple[Band, ...]
    training: tuple[Band, ...]
    test: tuple[Band, ...]


@dataclass(frozen=True)
class Share:
    """One source of late fluctuation of one norm: standard deviation with its interval, and covariance share."""

    norm: str
    source: str
    deviation: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class NoisePanel:
    """Late fluctuation by source and norm on one task in one setting; sources include ``total``."""

    title: str
    norms: tuple[str, ...]
    shares: tuple[Share, ...]
