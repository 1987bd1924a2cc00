"""A class that the batch of a sample tells and the sample alone does not."""

from __future__ import annotations

from math import asin, pi

import numpy as np
import pytest

from helpers import cohort_of
from normlab.engine.sequential import Sequential
from normlab.seeding import stream
from normlab.tasks.batch_relative import BATCH_RELATIVE, BLOCK, SPREAD
from normlab.tasks.data import Part


def right(part: Part, centre: np.ndarray | float) -> float:
    """How often the sign of the sum tells the class."""
    return float((((part.inputs - centre).sum(axis=1) > 0) == part.targets).mean())


def test_the_mean_of_the_batch_tells_the_class_and_the_sample_alone_does_not() -> None:
    parts = [BATCH_RELATIVE.data(seed, 0) for seed in range(4)]
    for data in parts:
        blocks = data.training.inputs.reshape(-1, BLOCK, 10)
        assert right(data.training, blocks.mean(axis=1).repeat(BLOCK, axis=0)) > 0.93
    alone = [right(data.held_out["test"], 0.0) for data in parts]
    assert np.mean(alone) == pytest.approx(0.5 + asin((1 + SPREAD**2) ** -0.5) / pi, abs=0.03)  # of two normal numbers


def test_each_test_sample_has_an_offset_of_its_own() -> None:
    data = BATCH_RELATIVE.data(0, 0)
    neighbours = [np.abs(np.diff(part.inputs, axis=0)).mean() for part in (data.training, data.held_out["test"])]
    assert neighbours[0] < 0.3 * neighbours[1]
    assert data.training.inputs.std() == pytest.approx(data.held_out["test"].inputs.std(), rel=0.2)


def test_batch_normalization_learns_what_no_deployed_model_can_use() -> None:
    """The loss of its batches falls; under the statistics of a population it answers worse than by chance of equals."""
    series = {}
    for norm in ("batch", "layer"):
        (outcome,) = Sequential().train(cohort_of(norm, "batch-relative", epochs=30), "cpu")
        series[norm] = {name: values.values[-16:].mean() for name, values in outcome.series.items()}
    assert series["batch"]["training_loss"] < 0.2
    assert series["layer"]["training_loss"] > 0.5
    for norm in ("batch", "layer"):
        assert series[norm]["test_accuracy"] == pytest.approx(0.53, abs=0.06)


def test_the_draw_is_that_of_its_stream() -> None:
    rng = stream(3, "draw", "batch-relative", 0)
    offset, noise = rng.normal(0, SPREAD, (16, 10))[0], rng.normal(size=(1024, 10))[0]
    data = BATCH_RELATIVE.data(3, 0)
    assert data.training.inputs[0] == pytest.approx((offset + noise) / SPREAD)
    assert data.training.targets[0] == (noise.sum() > 0)
