"""The noise of the batch loss by source: closed forms, and identities between the metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from normlab.stats.arm_results import arm_results
from normlab.stats.noise import SOURCES
from synthetic import POINTS, STEPS, article_plan, falling, made_outcome

PLAN = article_plan(seeds=1, norms=("batch",))
(ARM,) = PLAN.arms
AT = ARM.condition.measure.tail_steps(STEPS)
FLAT = np.full(len(POINTS), 0.5)


def noise(seed: int, size: float) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal(64)


def metrics_with(terms: Mapping[str, np.ndarray], canonical: np.ndarray = FLAT) -> dict[str, float]:
    (results,) = arm_results(PLAN, [made_outcome(ARM, 0, canonical, terms)])
    return {name: float(values[0]) for name, values in results.metrics.items()}


@pytest.mark.parametrize("source", SOURCES)
def test_a_fluctuation_of_one_source_is_found_there(source: str) -> None:
    term = 0.3 + noise(1, 0.02)
    m = metrics_with({"dropout": np.zeros(64), source: term})
    trend = np.polynomial.Polynomial.fit(AT, term, 2)
    expected = np.sqrt(((term - trend(AT)) ** 2).sum() / 61)
    for name in SOURCES:
        is_it = name == source
        assert m[f"fluctuation_{name}"] == pytest.approx(expected if is_it else 0, abs=1e-9)
        assert m[f"share_{name}"] == pytest.approx(float(is_it), abs=1e-9)
        assert name == "iterate" or m[f"mean_{name}"] == pytest.approx(term.mean() if is_it else 0, abs=1e-9)
    assert m["fluctuation_total"] == pytest.approx(expected)
    assert m["mean_total"] == pytest.approx(0.5 + term.mean())


@pytest.mark.parametrize("sources", [SOURCES, SOURCES[:3]])
def test_variances_and_covariances_of_the_sources_add_up(sources: tuple[str, ...]) -> None:
    shared = noise(4, 0.01)
    terms = {source: noise(number, 0.01 * (number + 1)) + shared for number, source in enumerate(sources)}
    terms["sampling"] = terms["sampling"] - 2 * shared
    m = metrics_with(terms, falling(0.3))
    assert {name.partition("_")[2] for name in m if name.startswith("share_")} == set(sources)
    variances = sum(m[f"fluctuation_{source}"] ** 2 for source in sources)
    covariances = [value for name, value in m.items() if name.startswith("covariance_")]
    assert len(covariances) == len(sources) * (len(sources) - 1) / 2
    np.testing.assert_allclose(variances + 2 * sum(covariances), m["fluctuation_total"] ** 2, rtol=1e-9)
    np.testing.assert_allclose(sum(m[f"share_{source}"] for source in sources), 1, rtol=1e-9)


@pytest.mark.parametrize("power", [1, 2])
def test_a_curve_that_bends_is_no_fluctuation(power: int) -> None:
    m = metrics_with({"iterate": (1 - AT / STEPS) ** power})
    assert m["fluctuation_total"] == pytest.approx(0, abs=1e-12)
    assert metrics_with({"iterate": (1 - AT / STEPS) ** 3})["fluctuation_total"] > 1e-4


def test_the_mean_of_a_difference_that_is_rounding_is_none() -> None:
    m = metrics_with(
        {"batch_statistics": np.full(64, 1e-7), "sampling": np.full(64, -1e-5)}, np.full(len(POINTS), 1e-7)
    )
    assert m["mean_batch_statistics"] == 0
    assert m["mean_sampling"] == pytest.approx(-1e-5)
    assert m["mean_iterate"] == pytest.approx(1e-7)


def test_jumps_are_told_from_steady_noise() -> None:
    steady = metrics_with({"sampling": noise(2, 0.02)})
    jumps = np.zeros(64)
    jumps[[10, 30, 50]] = 0.3
    rare = metrics_with({"sampling": noise(2, 0.02) + jumps})
    assert 0.15 < steady["concentration_total"] < 0.35
    assert steady["concentration_sampling"] == pytest.approx(steady["concentration_total"])
    assert rare["concentration_sampling"] > 0.8
    assert steady["concentration_batch_statistics"] == steady["concentration_iterate"] == 0


def test_the_three_largest_of_64_are_counted() -> None:
    term = noise(5, 1.0)
    left = term - np.polynomial.Polynomial.fit(AT, term, 2)(AT)
    squares = np.sort(left**2)
    m = metrics_with({"iterate": term})
    assert m["concentration_iterate"] == pytest.approx(squares[-3:].sum() / squares.sum())
