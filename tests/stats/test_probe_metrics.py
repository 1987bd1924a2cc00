"""The metrics that follow from probes: last values with what is said of them, and values at equal loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers import small_study
from normlab.analysis import gather
from normlab.claims.hypotheses import Comparative
from normlab.claims.spec import Claim
from normlab.engine.sequential import Sequential
from normlab.plan import resolve
from normlab.probes.catalog import PROBES
from normlab.stats.metric import at_loss, last_value
from normlab.stats.metrics import check_analysis, metrics_of
from normlab.study.study import Analysis

MEASURE = {"probes": ("training_loss", "canonical_loss", "weights", "calibration:at=1"), "noise_steps": 4}
STUDY = small_study(norms=["none", "batch"], measure=MEASURE, seeds=3)


def test_every_series_of_a_probe_is_a_metric_of_studies_that_measure_it() -> None:
    usual = metrics_of(resolve(small_study()).arms[0].condition)
    names = tuple(probe.name for probe in PROBES)
    plan = resolve(small_study(measure={"probes": names}, analysis=Analysis(margins={"last_test_ece": 0.01})))
    known = metrics_of(plan.arms[0].condition)
    added = {name: metric for name, metric in known.items() if name not in usual}
    series = [quantity.of("test").name for probe in PROBES for quantity in probe.series]
    assert set(added) == {f"last_{name}" for name in series}
    assert len(set(series)) == len(series)
    assert not any(metric.family for metric in added.values()), "they are no part of the family"
    check_analysis(plan)
    assert added["last_test_accuracy_fgsm"].worst == -np.inf
    assert added["last_test_nll"].title == "test NLL"


def test_claims_name_values_at_equal_loss() -> None:
    plan = resolve(STUDY)
    outcomes = [run for cohort in plan.cohorts for run in Sequential().train(replace(cohort, seeds=(0, 1, 2)), "cpu")]
    first, *_, last = np.transpose([outcome.series["canonical_loss"].values for outcome in outcomes])
    target = f"{(first.min() + last.max()) / 2:.3f}"
    metric, never = f"weight_norm_at_{target}", "weight_norm_at_1e-9"
    compared = tuple(Comparative(name, "batch", "above", "none") for name in (metric, never))
    fields = STUDY.as_dict()
    study = {name: fields[name] for name in ("norms", "tasks", "training", "measure", "seeds")}
    claim = Claim("mine", "Weights grow.", "folklore", study, compared)
    evidence = gather(plan, outcomes, [claim])
    for arm in evidence.results:
        for value, outcome in zip(arm.metrics[metric], outcomes[3 * evidence.results.index(arm) :], strict=False):
            losses, norms = outcome.series["canonical_loss"], outcome.series["weight_norm"]
            place = int(np.flatnonzero(losses.values <= float(target))[0])
            below, above = np.log(losses.values[place]), np.log(losses.values[place - 1])
            share = (above - np.log(float(target))) / (above - below)
            first, last = np.log(norms.values[place - 1 : place + 1])
            assert value == pytest.approx(np.exp(first + share * (last - first)))
        assert never not in arm.metrics, "no run gets there"
        assert "last_weight_norm" in arm.metrics
    answered, lacking = (part.result for part in evidence.findings[0].parts)
    assert answered is not None
    assert lacking is not None
    assert (answered.lacking, len(lacking.lacking)) == ((), 2)


def test_names_of_metrics_at_equal_loss() -> None:
    metric = at_loss("test_nll_at_0.25")
    assert metric is not None
    assert (metric.title, metric.scale, metric.needs) == (
        "test NLL at loss 0.25",
        "ratio",
        ("canonical_loss", "test_nll"),
    )
    assert [at_loss(name) for name in ("loss_range", "_at_1", "loss_range_at_", "loss_range_at_low")] == [None] * 4
    assert last_value("mine").title == "mine, last value"
