"""Figures as data, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
CellKind = Literal["better", "equivalent", "undecided", "nothing"]


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
    """The curves of all norms in one condition: canonical loss, training loss, and test loss."""

    title: str
    canonical: tuple[Band, ...]
    training: tuple[Band, ...]
    test: tuple[Band, ...]

    def bands(self) -> dict[str, tuple[Band, ...]]:
        """The bands by the name of the loss."""
        return {"canonical": self.canonical, "training": self.training, "test": self.test}


@dataclass(frozen=True)
class CoursePanel:
    """One comparison from look to look: the mean difference, and how far from zero it must lie to be called one."""

    a: str
    b: str
    decision: str
    margin: float
    most: int
    seeds: Points
    means: Points
    bounds: Points


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
    """Late fluctuation by source and norm in one condition; sources include ``total``."""

    title: str
    norms: tuple[str, ...]
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class SweepLine:
    """A metric of one norm along a swept field: median and 5-95% band over seeds at each value; NaN for a gap."""

    norm: str
    median: Points
    low: Points
    high: Points


@dataclass(frozen=True)
class SweepPanel:
    """A metric against a swept field, all other swept fields held.

    Arguments:
        title: what is held, such as ``depth 2``; empty where nothing else is swept.
        path: the swept field.
        values: its values as a reader writes them.
        positions: where they stand on the axis: the values themselves, or 0, 1, ... where they are no numbers.
        logarithmic: whether the axis is.
        metric: the metric's name and title.
        log_metric: whether the axis of the metric is logarithmic.
        lines: one for each norm.
        step: after how many steps the runs are compared; None at the end of each, which is at equal epochs.
    """

    title: str
    path: str
    values: tuple[str, ...]
    positions: tuple[float, ...]
    logarithmic: bool
    metric: tuple[str, str]
    log_metric: bool
    lines: tuple[SweepLine, ...]
    step: int | None = None


@dataclass(frozen=True)
class TuningLine:
    """The loss of one norm along a tuned field, the others at their best: median and quartiles; NaN for a gap.

    Arguments:
        norm: text of the norm.
        positions: the values of the field.
        median, low, high: of the loss at each.
        best: the best value; None where no run finished.
    """

    norm: str
    positions: Points
    median: Points
    low: Points
    high: Points
    best: float | None


@dataclass(frozen=True)
class TuningPanel:
    """The loss against a tuned field in one condition, on the set of data that it is tuned on."""

    title: str
    path: str
    data: str
    lines: tuple[TuningLine, ...]


@dataclass(frozen=True)
class Cell:
    """What is known in one condition: ``better`` (one norm leads), ``equivalent``, ``undecided`` or ``nothing``.

    Arguments:
        kind: which of these.
        norms: the norms that no other is better than; the leader first.
        text: the same for a reader.
        condition: its number in the study.
    """

    kind: CellKind
    norms: tuple[str, ...]
    text: str
    condition: int


@dataclass(frozen=True)
class HeatMap:
    """Which norm leads where, over one or two swept fields.

    Arguments:
        title: what is held.
        x, y: the swept fields; ``y`` is empty where only one is swept.
        columns, rows: their values as a reader writes them.
        cells: for each row a cell for each column; None for a gap.
    """

    title: str
    x: str
    y: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
