"""The Python calls: what a notebook sees."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import normlab
from helpers import small_study
from normlab.errors import InputError


@pytest.fixture(scope="module")
def results() -> normlab.Results:
    return normlab.run(small_study(norms=["batch", "layer", "group:groups=5"], seeds=3, claims=["article-d"]))


def test_everything_named_in_the_contents_page_is_there() -> None:
    for name in dir(normlab):
        assert getattr(normlab, name) is not None
    assert {"run", "load", "Study", "Results", "NormSpec", "Claim", "Task"} <= set(dir(normlab))


def test_metrics_have_a_row_for_each_run(results: normlab.Results) -> None:
    frame = results.metrics()
    assert frame.height == 9
    assert {"norm", "seed", "status", "final_loss", "test_accuracy", "batch_size"} <= set(frame.columns)
    outcome = results.outcomes[0]
    row = frame.filter((frame["norm"] == outcome.arm.norm) & (frame["seed"] == outcome.seed))
    assert row["final_loss"][0] == outcome.series["canonical_loss"].values[-1]


def test_curves_hold_every_measured_value(results: normlab.Results) -> None:
    frame = results.curves()
    assert frame.height == sum(len(series.values) for outcome in results.outcomes for series in outcome.series.values())
    one = frame.filter((frame["norm"] == "layer") & (frame["seed"] == 1) & (frame["series"] == "training_loss")).sort(
        "step"
    )
    (outcome,) = (item for item in results.outcomes if item.arm.norm == "layer" and item.seed == 1)
    assert np.array_equal(one["value"].to_numpy(), outcome.series["training_loss"].values)


def test_comparisons_and_claims_are_frames(results: normlab.Results) -> None:
    comparisons = results.comparisons()
    assert comparisons.height == 3 * 15
    labels = ("BatchNorm", "LayerNorm", "GroupNorm (groups=5)")
    better = {f"{label} better{ending}" for label in labels for ending in ("", ", perhaps by less than matters")}
    assert set(comparisons["verdict"]) <= {*better, "equivalent", "undecided", "exploratory"}
    exploratory = comparisons.filter(comparisons["family"] == "exploratory")
    assert set(exploratory["verdict"]) == {"exploratory"}
    assert exploratory.height == 3 * 8
    assert [row[2] for row in results.claims().rows()] == ["not testable here"]
    assert normlab.run(small_study(norms=["none", "rms"], seeds=1)).claims().height == 0


def test_a_notebook_shows_the_answer_and_the_comparisons_in_the_primary_metric(results: normlab.Results) -> None:
    shown = html.unescape(results._repr_html_())
    assert results.answer in shown
    assert shown.count("<tr>") == 1 + 3
    table = pl.DataFrame({"norm": ["a", "b"] * 6, "seed": [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], "loss": range(12)})
    judgement = normlab.judge(table, arm="norm", seed="seed", metrics="loss:lower")
    shown = html.unescape(judgement._repr_html_())
    assert shown.count("<tr>") == 1 + 1
    assert all(text in shown for text in (judgement.answer, *judgement.remarks))


def test_pictures_and_report(results: normlab.Results) -> None:
    assert [axes.get_title() for axes in results.plot().axes] == ["Canonical loss", "Loss of training batches"]
    assert results.plot("article").axes[0].get_title() == "Normalization Techniques Comparison"
    with pytest.raises(InputError, match="Did you mean 'noise'"):
        results.plot("nose")
    files = results.report("out")
    assert {path.name for path in files} == {"article.png", "curves.png", "noise.png", "report.html", "summary.json"}
    assert all(path.stat().st_size > 1000 for path in files)


def test_a_picture_without_data_is_explained() -> None:
    results = normlab.run(small_study(norms=["none", "rms"], seeds=1))
    with pytest.raises(InputError, match=r"article needs runs of batch, layer and group.*Draw curves or noise instead"):
        results.plot("article")


def test_runs_are_kept_only_where_asked_for() -> None:
    study = small_study(norms=["none", "rms"], seeds=1)
    kept = normlab.run(study, "kept")
    assert kept.path == Path("kept")
    loose = normlab.run(study)
    assert loose.path is None
    for first, second in zip(kept.metrics().iter_rows(), normlab.load("kept").metrics().iter_rows(), strict=True):
        assert first == second
    assert loose.metrics().drop("seconds_per_step").equals(kept.metrics().drop("seconds_per_step"))


def test_a_study_by_name_can_be_changed() -> None:
    changes = {"norms": ["none", "rms"], "seeds": 1, "training.epochs": 1}
    assert normlab.run("article-once", changes=changes).study.seeds == 1
    with pytest.raises(InputError, match="workers"):
        normlab.run("article-once", "nowhere", workers=0)
    assert not Path("nowhere").exists()


def test_statistics_of_the_same_runs_are_the_same_every_time(results: normlab.Results) -> None:
    again = normlab.Results(results.plan, reversed(results.outcomes))
    assert again.comparisons().equals(results.comparisons())
