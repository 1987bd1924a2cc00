"""The picture of a watch: how far evaluation mode is from training mode, layer by layer, over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from normlab.errors import InputError
from normlab.watching.measure import Array
from normlab.watching.spec import LARGEST_DRIFT, LARGEST_GAP, History, Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMES = 40  # beside the rows


def draw(model: str, history: Mapping[str, History]) -> Figure:
    """Two maps, a row for each layer and a column for each sample: the gap of single batches, and drift.

    Colours end at twice what a finding begins with, so that its line is in the middle of the scale.

    Raises:
        InputError: no layer that normalizes by batches was measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name, samples in history.items() if any(sample.gap is not None for sample in samples)]
    if not names:
        rule = "a picture needs a layer that normalizes by the batch in training mode"
        raise InputError(rule, "none that was measured", "Watch a model with BatchNorm for some steps.")
    steps = sorted({sample.step for name in names for sample in history[name] if sample.gap is not None})
    figure = Figure(figsize=(10, min(12.0, 2.2 + 0.22 * len(names))), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, what, largest, title in (
        (left, "gap", LARGEST_GAP, "gap on single batches\n(evaluation against training mode)"),
        (right, "drift", LARGEST_DRIFT, "drift: what batches share of it"),
    ):
        values = np.array([_row(history[name], what, steps) for name in names])
        image = axes.pcolormesh(
            np.arange(len(steps) + 1), np.arange(len(names) + 1), values, cmap="cividis", vmin=0, vmax=2 * largest
        )
        axes.set_facecolor("#dddddd")  # of what was not measured
        bar = figure.colorbar(image, ax=axes, extend="max")
        bar.ax.axhline(largest, color="#D55E00", linewidth=2)
        axes.set_title(title, fontsize=9)
        shown = range(0, len(steps), max(1, len(steps) // 8))
        axes.set_xticks([place + 0.5 for place in shown], [str(steps[place]) for place in shown], fontsize=8)
        axes.set_xlabel("step", fontsize=9)
    rows = range(0, len(names), max(1, -(-len(names) // _MOST_NAMES)))
    left.set_yticks([row + 0.5 for row in rows], [names[row] or model for row in rows], fontsize=7)
    left.set_ylim(len(names), 0)
    figure.suptitle(f"{model}: running statistics beside those of the batches", fontsize=10)
    figure.supxlabel("As a share of the layer's output; the line in the scale: where a finding begins.", fontsize=8)
    return figure


def _row(history: History, what: str, steps: list[int]) -> Array:
    """A layer's values at the steps; NaN where there is none."""
    samples: dict[int, Sample] = {sample.step: sample for sample in history}
    values = (getattr(samples.get(step), what, None) for step in steps)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
