"""What a metric is: a number derived from a run, with its title, meaning, scale, direction and margin."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from normlab.probes.catalog import find_quantity
from normlab.probes.spec import Quantity
from normlab.stats import formulas
from normlab.stats.curves import Curves, floored_log
from normlab.stats.samples import Values

LOSS_MARGIN = 0.1  # of the logarithm of a loss: a factor of exp(0.1), about 10%
_AT_LOSS = re.compile(r"(\w+)_at_(\d*\.?\d+(?:e-?\d+)?)")


@dataclass(frozen=True)
class Metric:
    """A number derived from a run.

    Arguments:
        name: the name in ``summary.json``, in claims and in a study's margins.
        title: the name in tables.
        meaning: what it is, so that a reader who sees it for the first time understands it.
        needs: the series it is computed from.
        compute: gives one value for each run.
        margin: differences too small to matter, on the comparable scale; a study may name another. NaN: none.
        higher_is_better: whether more is better.
        scale: how two norms are compared: by the ratio (logarithms are taken), by the difference of what is a
            logarithm already (``log``), or by the plain ``difference``.
        family: the family of comparisons that it belongs to where it is not the primary metric: "secondary",
            "exploratory" (intervals and no verdicts), or empty where norms are not compared by it.
        points: the fewest measured points of each series that it takes.
        unit: behind figures; empty for none.
        resolution: values up to this are rounding: where both norms have no larger ones, they do not differ by
            construction, and nothing is tested.
        if_diverged: the value of a run that diverged; NaN stands for an infinitely bad one.
        spread_of: the metric whose standard deviation over seeds it is about; empty for a number of each run.

    >>> Metric("mine", "mine", "the last loss", ("test_loss",), formulas.last("test_loss")).worst
    inf
    """

    name: str
    title: str
    meaning: str
    needs: tuple[str, ...]
    compute: formulas.Formula
    margin: float = math.nan
    higher_is_better: bool = False
    scale: Literal["ratio", "log", "difference"] = "ratio"
    family: Literal["secondary", "exploratory", ""] = ""
    points: int = 1
    unit: str = ""
    resolution: float = 0.0
    if_diverged: float = math.nan
    spread_of: str = ""

    @property
    def worst(self) -> float:
        """The value of a run that diverged."""
        if not math.isnan(self.if_diverged):
            return self.if_diverged
        return -np.inf if self.higher_is_better else np.inf

    @property
    def is_ratio(self) -> bool:
        """Whether differences on the comparable scale are logarithms of ratios."""
        return self.scale != "difference"

    def comparable(self, values: Values) -> Values:
        """The values on the scale on which differences are taken."""
        return floored_log(values) if self.scale == "ratio" else values

    def is_measured(self, curves: Curves) -> bool:
        """Whether the curves hold what it is computed from, with points enough."""
        series = curves.series
        return all(name in series and len(series[name].steps) >= self.points for name in self.needs)


def last_value(series: str) -> Metric:
    """The metric of a series that no other metric is about, such as that of a probe: its last value.

    >>> last_value("mine").name, last_value("mine").scale
    ('last_mine', 'difference')
    >>> last_value("hessian_top").title, last_value("hessian_top").scale
    ('largest eigenvalue of the Hessian', 'ratio')
    """
    plain = series.replace("_", " ")
    quantity = find_quantity(series) or Quantity(
        series, f"{plain}, last value", f"the last measured value of {plain}", scale="difference"
    )
    return Metric(
        f"last_{series}",
        quantity.title,
        quantity.meaning,
        (series,),
        formulas.last(series),
        higher_is_better=quantity.higher_is_better,
        scale=quantity.scale,
        unit=quantity.unit,
    )


def at_loss(name: str) -> Metric | None:
    """The metric called ``SERIES_at_LOSS``: a series where the canonical loss first falls to that value.

    So norms are compared at equal loss. A claim names it like any other metric, ``effective_smoothness_at_0.5`` say,
    with ``canonical_loss`` and the probe of the series in its study. A run whose loss never falls so low has no value.

    Returns:
        None for a name of another form.

    >>> at_loss("loss_range_at_0.5").needs, at_loss("loss_range")
    (('canonical_loss', 'loss_range'), None)
    """
    match = _AT_LOSS.fullmatch(name)
    if match is None:
        return None
    series, target = match.groups()
    last = last_value(series)
    title = last.title.removesuffix(", last value")
    return replace(
        last,
        name=name,
        title=f"{title} at loss {target}",
        meaning=f"{title} at the step at which the canonical loss first falls to {target}",
        needs=("canonical_loss", series),
        compute=formulas.at_loss(series, float(target), logs=last.scale == "ratio"),
    )


def margin_of(metric: Metric, margins: Mapping[str, float]) -> float:
    """The margin of a metric: the study's if it names one, else the metric's own.

    >>> margin_of(last_value("dead_units"), {"last_dead_units": 0.02})
    0.02
    """
    return margins.get(metric.name, metric.margin)
