"""Verdicts on tables of runs: the same as a study's, pairs by seed, what is left out or guessed is said."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

import normlab
from normlab.errors import InputError
from normlab.judging.judgement import Judgement
from normlab.judging.pictures import NARROW, PairRow, draw_differences
from normlab.report.canvas import png_inches
from normlab.stats.multiplicity import seeds_for_significance
from normlab.stats.options import Options
from normlab.wording.comparisons import verdict_text

Row = dict[str, Any]


def study_rows(
    effects: dict[str, float], seeds: int, spread: float = 0.05, key: int = 0, **fields: object
) -> list[Row]:
    """Runs whose log losses differ by known effects, which go together within a seed."""
    generator = np.random.default_rng(key)
    common = 0.03 * generator.standard_normal(seeds)
    return [
        {
            "norm": arm,
            "seed": seed,
            "loss": float(0.4 * np.exp(effect + common[seed] + spread * generator.standard_normal())),
            **fields,
        }
        for arm, effect in effects.items()
        for seed in range(seeds)
    ]


def judged(rows: object, **how: Any) -> Judgement:
    return normlab.judge(rows, **{"arm": "norm", "seed": "seed", "metrics": "loss:lower", **how})


def figures(judgement: Judgement) -> list[Row]:
    """Everything that is said, less what it is called."""
    return judgement.summary()["comparisons"]


def told(judgement: Judgement) -> str:
    return "\n".join(judgement.remarks)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> normlab.Results:
    """A tiny study of three norms, nine seeds, two batch sizes."""
    study = normlab.Study(
        name="mine",
        norms=["batch", "layer", "none"],
        tasks=["article"],
        seeds=9,
        training=normlab.Training(epochs=1),
        sweep={"training.batch_size": [64, 128]},
    )
    return normlab.run(study, tmp_path_factory.mktemp("results") / "mine", engine="sequential")


def test_exported_runs_get_the_verdicts_of_their_study(study: normlab.Results, commands: Any) -> None:
    assert study.path is not None
    assert commands("export", str(study.path), "--what", "metrics", "--out", "runs.csv").status == 0
    primary = study.evidence.advice[0].metric
    margin = f"{100 * math.expm1(primary.margin)!r}%"
    judgement = normlab.judge(
        "runs.csv",
        arm="norm",
        seed="seed",
        metrics=f"{primary.name}:lower",
        conditions=["batch_size"],
        margin=margin,
    )
    theirs = {
        (str(item.context.training.batch_size), item.a, item.b): item  # type: ignore[attr-defined]
        for item in study.evidence.comparisons
        if item.metric == primary.name
    }
    assert len(theirs) == len(judgement.comparisons) == 6
    assert "differ in" not in told(judgement)
    for item in judgement.comparisons:
        other = theirs[dict(item.context)["batch_size"], item.a, item.b]  # type: ignore[call-overload]
        for name in ("verdict", "pairs", "level", "seeds_needed", "probability_ci", "significant"):
            assert getattr(item, name) == getattr(other, name), name
        for name in ("difference", "p", "p_holm", "p_wilcoxon", "p_beyond_holm", "p_equivalence_holm", "correlation"):
            assert getattr(item, name) == pytest.approx(getattr(other, name), rel=1e-9), name
        assert item.ci == pytest.approx(other.ci, rel=1e-9)
    pooled = {(item.a, item.b): item.effect for item in study.evidence.overview.pooled}
    assert len(pooled) == 3
    for item in judgement.pooled:
        assert item.effect.value == pytest.approx(pooled[item.a, item.b].value, rel=1e-9)


def test_exported_curves_are_a_history_with_the_same_last_values(study: normlab.Results, commands: Any) -> None:
    for what in ("metrics", "curves"):
        assert commands("export", str(study.path), "--what", what, "--out", f"{what}.csv").status == 0
    how: dict[str, Any] = {"arm": "norm", "metrics": "test_loss:lower", "conditions": "batch_size"}
    one, other = normlab.judge("metrics.csv", **how), normlab.judge("curves.csv", step="step", **how)
    assert figures(one) == figures(other)


def test_p_and_correction_are_those_of_scipy_and_statsmodels() -> None:
    rows = study_rows({"a": 0.0, "b": 0.03, "c": -0.05}, seeds=10)
    loss = {(row["norm"], row["seed"]): math.log(row["loss"]) for row in rows}
    judgement = judged(rows)
    p = []
    for item in judgement.comparisons:
        differences = np.array([loss[item.a, seed] - loss[item.b, seed] for seed in range(10)])
        theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
        assert item.p == pytest.approx(theirs)
        assert item.difference == pytest.approx(differences.mean())
        assert item.p_wilcoxon == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)
        p.append(item.p)
    assert [item.p_holm for item in judgement.comparisons] == pytest.approx(multipletests(p, method="holm")[1])


@given(st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_the_order_of_rows_changes_nothing(random: Any) -> None:
    rows = [
        row | {"data": data}
        for data in ("x", "y")
        for row in study_rows({"a": 0.0, "b": 0.03, "c10": 0.1, "c9": 0.2}, seeds=7, key=ord(data))
    ]
    rows[3]["loss"] = math.nan
    shuffled = list(rows)
    random.shuffle(shuffled)
    one, other = (judged(item, conditions=["data"], margin="2%").summary() for item in (rows, shuffled))
    assert one == other
    assert one["arms"] == ["a", "b", "c9", "c10"]


def test_other_names_of_the_seeds_change_nothing() -> None:
    rows = study_rows({"a": 0.0, "b": 0.03}, seeds=12)
    renamed = [row | {"seed": f"run-{17 + 3 * row['seed']}"} for row in rows]
    assert figures(judged(renamed)) == figures(judged(rows))
    permuted = [row | {"seed": (5 * row["seed"] + 7) % 12} for row in rows]
    one, other = (judged(item, margin="2%").comparisons[0] for item in (rows, permuted))
    assert (other.p, other.verdict, other.difference) == pytest.approx((one.p, one.verdict, one.difference))
    assert other.ci == pytest.approx(one.ci, abs=0.02), "the bootstrap draws other resamples"


@given(st.floats(0.01, 100), st.integers(0, 1000))
@settings(max_examples=10)
def test_another_unit_of_the_loss_changes_no_ratio(factor: float, key: int) -> None:
    rows = study_rows({"a": 0.0, "b": 0.05}, seeds=8, key=key)
    one = judged(rows, margin="2%").comparisons[0]
    other = judged([row | {"loss": factor * row["loss"]} for row in rows], margin="2%").comparisons[0]
    assert (other.verdict, other.p) == (one.verdict, one.p)
    assert other.ci == pytest.approx(one.ci, abs=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_a_metric_upside_down_has_the_same_verdict(key: int) -> None:
    rows = study_rows({"a": 0.0, "b": 0.1}, seeds=9, key=key)
    lower = judged(rows, margin=0.004).comparisons[0]
    higher = judged([row | {"loss": 1 - row["loss"]} for row in rows], metrics="loss:higher", margin=0.004).comparisons[
        0
    ]
    assert (higher.verdict, higher.scale) == (lower.verdict, "difference")
    assert higher.probability_a_better == lower.probability_a_better
    assert higher.p == pytest.approx(lower.p)


@pytest.mark.parametrize("unpaired", [False, True])
def test_an_arm_against_itself_is_called_different_in_at_most_alpha(unpaired: bool) -> None:
    options, studies = Options(resamples=300, full_level_seeds=1), 200
    found = [
        judged(study_rows({"a": 0.0, "b": 0.0}, seeds=8, key=key), unpaired=unpaired, options=options)
        for key in range(studies)
    ]
    wrong = sum(item.comparisons[0].better is not None for item in found)
    assert stats.binomtest(wrong, studies, 0.05, alternative="greater").pvalue > 0.01


def test_pairs_are_made_by_seed_and_those_that_lack_a_run_are_named() -> None:
    rows = [
        row for row in study_rows({"a": 0.0, "b": 0.1}, 12) if (row["norm"], row["seed"]) not in {("b", 4), ("a", 9)}
    ]
    judgement = judged(rows)
    item = judgement.comparisons[0]
    assert (item.pairs, item.missing) == (10, 2)
    assert "because b has no run for them: seed 4 of a" in told(judgement)
    assert "because a has no run for them: seed 9 of b" in told(judgement)
    kept = [row for row in rows if row["seed"] not in {4, 9}]
    assert item.p == judged(kept).comparisons[0].p


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", math.nan, math.inf])
def test_a_run_that_diverged_stays_in_as_the_worst(value: object) -> None:
    rows = study_rows({"a": 0.0, "b": 0.001}, seeds=10, spread=0.0)
    finite = judged(rows).comparisons[0]
    rows[2]["loss"] = value
    judgement = judged(rows)
    item = judgement.comparisons[0]
    assert (finite.verdict, item.verdict) == ("a better", "undecided")
    assert (item.pairs, item.diverged_a, item.probability_a_better) == (10, 1, 0.9)
    assert "NaN or infinite: seed 2 of a" in told(judgement)


def test_a_run_that_diverged_in_the_primary_metric_is_the_worst_in_every_one() -> None:
    rows = [row | {"acc": 0.9} for row in study_rows({"a": 0.0, "b": 0.1}, seeds=8)]
    rows[0]["loss"], rows[0]["acc"] = "nan", ""
    first, second = judged(rows, metrics=["loss:lower", "acc:higher"]).comparisons
    assert (first.diverged_a, second.diverged_a, second.pairs) == (1, 1, 8)
    first, second = judged(rows, metrics=["acc:higher", "loss:lower"]).comparisons
    assert (first.diverged_a, first.pairs, second.diverged_a) == (0, 7, 1), "what is looked at only says nothing of it"


def test_runs_that_would_be_enough_if_none_were_added_are_told_so() -> None:
    """Eight pairs of one sign: too few at the level that lasts, enough at the full one."""
    rows = study_rows({"a": 0.0, "b": 3.0}, seeds=8)
    assert "`full_level_seeds=1` judges at 0.05, for which they are enough" in told(judged(rows))
    assert judged(rows, options=Options(full_level_seeds=1)).comparisons[0].verdict == "a better"
    assert "for which they are enough" not in told(judged(study_rows({"a": 0.0, "b": 3.0}, seeds=3)))


def test_another_word_for_a_direction_is_told_the_two_that_there_are() -> None:
    with pytest.raises(InputError, match=r"got 'loss:min'\. Write loss:lower or loss:higher"):
        normlab.judge(study_rows({"a": 0.0, "b": 3.0}, seeds=3), arm="norm", metrics="loss:min")


def test_an_empty_cell_is_no_divergence() -> None:
    rows = study_rows({"a": 0.0, "b": 0.1}, seeds=8)
    rows[3]["loss"] = ""
    judgement = judged(rows)
    assert (judgement.comparisons[0].pairs, judgement.comparisons[0].diverged_a) == (7, 0)
    assert "without a value of loss: seed 3 of a" in told(judgement)


def test_three_seeds_are_told_that_they_decide_nothing() -> None:
    judgement = judged(study_rows({"a": 0.0, "b": 3.0}, seeds=3))
    item = judgement.comparisons[0]
    assert (item.verdict, item.p, item.seeds_needed) == ("undecided", 0.25, None)
    assert "With 3 seeds no p can be below 0.25: too few to decide 1 comparison; 9 seeds are the least." in told(
        judgement
    )
    assert "so few seeds do not say how many would decide" in " ".join(judgement.sentences()).lower()
    assert "6 seeds are the least" in told(
        judged(study_rows({"a": 0.0, "b": 3.0}, seeds=3), options=Options(full_level_seeds=1))
    )


def test_disjoint_seeds_are_not_paired_and_told_what_pairing_would_save() -> None:
    rows = [
        row | {"seed": row["seed"] + (100 if row["norm"] == "b" else 0)} for row in study_rows({"a": 0, "b": 0.02}, 9)
    ]
    judgement = judged(rows)
    item = judgement.comparisons[0]
    assert "unpaired" in {note.kind for note in item.notes}
    samples = [[math.log(row["loss"]) for row in rows if row["norm"] == arm] for arm in "ab"]
    theirs = stats.permutation_test(samples, lambda x, y: np.mean(x) - np.mean(y), n_resamples=np.inf)
    assert item.p == pytest.approx(theirs.pvalue)
    assert "about 71% to 91% of the seeds would do (correlation within pairs 0.09 to 0.29" in told(judgement)
    assert "9 runs of a and 9 runs of b are not paired" in next(judgement.sentences())


def test_without_a_column_of_seeds_nothing_is_paired() -> None:
    rows = [{name: row[name] for name in ("norm", "loss")} for row in study_rows({"a": 0, "b": 0.5}, 8)]
    judgement = judged(rows, seed=None)
    assert judgement.comparisons[0].verdict == "a better"
    assert "No column says which runs belong together" in told(judgement)
    found = judged(study_rows({"a": 0, "b": 0.5}, 8), seed=None)
    assert "Runs are paired by the column seed." in told(found)


def test_what_pairing_would_save_comes_from_the_data_where_some_are_paired() -> None:
    rows = study_rows({"a": 0.0, "b": 0.02}, seeds=12, spread=0.01)
    paired, judgement = judged(rows), judged(rows, unpaired=True)
    correlation = paired.comparisons[0].correlation
    assert f"correlation within pairs {correlation:.3g}, as in these runs" in told(judgement)
    assert judgement.comparisons[0].p > paired.comparisons[0].p


def test_the_control_is_compared_with_each_and_the_family_is_smaller() -> None:
    rows = study_rows({"a": 0.0, "b": 0.05, "c": -0.05, "d": 0.1}, seeds=12)
    every, against = judged(rows), judged(rows, control="b")
    assert (len(every.comparisons), len(against.comparisons)) == (6, 3)
    assert {(item.a, item.b) for item in against.comparisons} == {("a", "b"), ("c", "b"), ("d", "b")}
    assert against.answer.startswith("Against b, in loss: a ")
    holm = multipletests([item.p for item in against.comparisons], method="holm")[1]
    assert [item.p_holm for item in against.comparisons] == pytest.approx(holm)


def test_conditions_are_one_family_and_pooled() -> None:
    rows = [row | {"data": data} for data in "xyz" for row in study_rows({"a": 0.0, "b": 0.1}, 10, key=ord(data))]
    judgement = judged(rows, conditions="data")
    assert [dict(place)["data"] for place in judgement.places] == ["x", "y", "z"]
    holm = multipletests([item.p for item in judgement.comparisons], method="holm")[1]
    assert [item.p_holm for item in judgement.comparisons] == pytest.approx(holm)
    assert next(judgement.pooled_sentences()).startswith("Over 3 conditions together, in loss a is ")
    one = judged([row for row in rows if row["data"] == "y"]).comparisons[0]
    assert one.ci == pytest.approx(judgement.comparisons[1].ci)


def test_only_the_first_metric_gets_verdicts() -> None:
    rows = [row | {"acc": 1 - row["loss"]} for row in study_rows({"a": 0.0, "b": 0.5}, 12)]
    first, second = judged(rows, metrics=["loss:lower", "acc"], margin={"loss": "1%", "acc": 0.01}).comparisons
    assert (first.verdict, first.scale, first.margin) == ("a better", "ratio", pytest.approx(math.log(1.01)))
    assert (second.verdict, second.scale, second.margin) == ("exploratory", "difference", 0.01)
    assert math.isnan(second.p_holm)
    assert second.p == pytest.approx(judged(rows, metrics="acc").comparisons[0].p)


def test_arms_that_share_few_seeds_are_told_how_all_runs_count() -> None:
    rows = study_rows({"a": 0.0, "b": 0.5}, seeds=8)
    rows = [row | {"seed": row["seed"] + (5 if row["norm"] == "b" else 0)} for row in rows]
    assert "Only 3 seeds shared by a and b" in told(judged(rows))
    assert "seeds 0, 1, 2, 3 and 4 of a" in told(judged(rows))
    assert judged(rows, unpaired=True).comparisons[0].verdict == "a better"


def test_the_spread_over_seeds_is_looked_at_where_there_are_enough() -> None:
    rows = study_rows({"a": 0.0, "b": 0.0}, seeds=64)
    for row in rows[64:]:
        row["loss"] = 0.4 * (row["loss"] / 0.4) ** 3
    mean, spread = judged(rows).comparisons
    assert (spread.metric, spread.kind, spread.verdict) == ("loss_spread", "spread", "exploratory")
    assert math.exp(spread.difference) == pytest.approx(1 / 3, rel=0.4)
    assert len(judged(rows[:63] + rows[64:127]).comparisons) == 1
    assert mean.p_holm == mean.p, "it is no part of the family"


def test_ties_and_a_metric_that_never_varies_are_said() -> None:
    rows = study_rows({"a": 0.0, "b": 0.1}, seeds=10)
    for row in rows:
        row["loss"] = 0.5 if row["seed"] < 3 else row["loss"]
    assert "3 of 10 pairs of a and b are equal" in told(judged(rows))
    constant = judged([row | {"loss": 0.5} for row in rows], margin="1%")
    assert "loss is 0.5 in every run" in told(constant).lower()
    assert (constant.comparisons[0].p, constant.comparisons[0].ci) == (1, (0, 0))
    assert constant.comparisons[0].better is None


def test_without_a_margin_nothing_is_equivalent_and_it_is_said() -> None:
    rows = study_rows({"a": 0.0, "b": 0.0}, seeds=70, spread=0.001)
    assert judged(rows).comparisons[0].verdict == "undecided"
    assert "without a margin" in told(judged(rows))
    with_margin = judged(rows, margin="5%")
    assert with_margin.comparisons[0].verdict == "equivalent"
    assert with_margin.answer == "In loss a and b are equivalent."


def test_what_differs_between_arms_beside_the_arm_is_said() -> None:
    rows = study_rows({"a": 0.0, "b": 0.1}, seeds=8, batch_size=16)
    rows = [row | {"lr": 0.1 if row["norm"] == "a" else 0.01, "id": f"{row['norm']}{row['seed']}"} for row in rows]
    judgement = judged(rows)
    assert "The arms differ in lr too" in told(judgement)
    assert "All runs have batch_size 16." in told(judgement)


def test_everything_is_written_and_reads_back() -> None:
    judgement = judged(study_rows({"a": 0.0, "b<i>": 0.5, "$c$": 0.1}, seeds=9), margin="2%")
    files = {path.name for path in judgement.report("out")}
    assert files == {"differences.png", "values.png", "report.html", "summary.json", "comparisons.csv"}
    assert json.loads(Path("out/summary.json").read_text()) == json.loads(json.dumps(judgement.summary()))
    page = Path("out/report.html").read_text()
    assert "b&lt;i&gt;" in page
    assert "b<i>" not in page
    table = list(csv.DictReader(io.StringIO(Path("out/comparisons.csv").read_text())))
    assert [float(row["ci_low"]) for row in table] == [item.ci[0] for item in judgement.comparisons]
    assert Path("out/differences.png").stat().st_size > 10_000
    assert Path("out/values.png").stat().st_size > 10_000
    narrow = re.findall(r'<source media="\(max-width: 40rem\)" srcset="data:image/png;base64,([^"]+)">', page)
    assert [png_inches(base64.b64decode(picture)) for picture in narrow] == [pytest.approx(NARROW, abs=0.01)] * 2


@pytest.mark.parametrize("arms", [("a", "b"), ("group:groups=8", "instance:affine=false")])
def test_on_a_telephone_names_and_verdicts_stand_within_the_picture(arms: tuple[str, str]) -> None:
    judgement = judged(study_rows(dict(zip(arms, (0.0, 0.5), strict=True)), seeds=9), margin="2%")
    (item,) = judgement.comparisons
    row = PairRow(item, "dataset cifar10", np.array([0.1, -0.2]))
    figure = draw_differences([row], judgement.strata[0].metric, narrow=True)
    figure.canvas.draw()
    axes = figure.axes[0]
    (text,) = axes.texts
    said = " ".join(text.get_text().split())
    assert said == f"dataset cifar10, {arms[0]} – {arms[1]}: {verdict_text(item)}"
    for label in (text, axes.xaxis.label):
        box = label.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_a_column_of_seeds_that_arms_do_not_share_pairs_nothing_and_that_is_said() -> None:
    rows = [
        {"norm": norm, "seed": seed + first, "val_loss": 1.0 + first / 100 + seed / 50}
        for norm, first in {"a": 0, "b": 100}.items()
        for seed in range(8)
    ]
    said = normlab.judge(rows, arm="norm", metrics="val_loss:lower").remarks
    assert "A and b have no value of seed in common, so that their runs are not paired." in said
    assert not any(remark.startswith("Runs are paired") for remark in said)
    same = [{**row, "seed": row["seed"] % 100} for row in rows]
    asked = normlab.judge(same, arm="norm", seed="seed", metrics="val_loss:lower", unpaired=True).remarks
    assert not any("in common, so" in remark for remark in asked)


def test_the_smallest_p_of_unequal_numbers_of_runs_is_that_of_all_ways_to_divide_them() -> None:
    rows = [{"norm": norm, "val_loss": 1.0 + place} for norm, count in (("a", 3), ("b", 7)) for place in range(count)]
    said = told(normlab.judge(rows, arm="norm", metrics="val_loss:lower"))
    assert f"With 3 and 7 runs that are not paired no p can be below {2 / math.comb(10, 3):.3g}: " in said
    assert "3 and 7 runs, which say as much as 4 of each, are judged at 0.00313" in said


def test_all_runs_of_unequal_arms_are_used() -> None:
    """Twenty runs beside four: by the four alone nothing could ever be decided."""
    spread = np.random.default_rng(0).uniform(-0.1, 0.1, 24)
    rows = [{"norm": "ab"[place >= 20], "val_loss": 1.0 + (place >= 20) + spread[place]} for place in range(24)]
    judgement = normlab.judge(rows, arm="norm", metrics="val_loss:lower")
    item = judgement.comparisons[0]
    assert (item.verdict, item.pairs) == ("a better", 6)
    assert item.p == pytest.approx(2 / math.comb(24, 4), rel=2)
    assert "cannot decide" not in told(judgement) + " ".join(judgement.sentences())
    assert judgement.remarks == normlab.judge(rows[::-1], arm="norm", metrics="val_loss:lower").remarks
    few = normlab.judge([*rows[:10], *rows[20:23]], arm="norm", metrics="val_loss:lower")
    assert "10 runs of a and 3 runs of b cannot decide among 1 comparison; 6 of each could" in " ".join(few.sentences())


def test_the_seeds_that_pairs_would_need_are_never_fewer_than_can_decide_anything() -> None:
    """Runs of shared seeds that nearly agree say that pairs need a hundredth of the seeds: but no two pairs decide."""
    rows = study_rows({"a": 0.0, "b": -0.03, "c": 0.0}, seeds=14, spread=0.0005)
    rows = [row | {"seed": row["seed"] + 100 * (row["norm"] == "a")} for row in rows]
    said = told(judged(rows))
    least = seeds_for_significance(3, full=64)
    assert re.findall(r"between a and b unpaired, about (\d+) paired", said) == [str(least)]
    assert "A and b and a and c have no value of seed in common, so that their runs are not paired." in said


def test_the_seeds_that_runs_without_pairs_need_are_the_least_that_can_decide_where_arms_are_far_apart() -> None:
    arms = {"a": 0.0, "b": 2.0, "c": 4.0, "d": 6.0, "e": 8.0, "f": 10.0}
    least = seeds_for_significance(15, full=64, paired=False)
    few, enough = (judged(study_rows(arms, seeds=seeds), unpaired=True) for seeds in (least - 1, least))
    assert {(item.verdict, item.seeds_needed) for item in few.comparisons} == {("undecided", least)}
    assert {item.verdict for item in enough.comparisons} == {"a better"}


def test_arms_that_differ_only_in_how_they_are_written_are_named() -> None:
    rows = study_rows(
        {"batch": 0.0, "BATCH": 0.0, "group norm": 0.1, "Group_Norm": 0.1, "1e3": 0.0, "1E-3": 0.0}, seeds=3
    )
    said = told(judged(rows))
    assert "BATCH and batch are different arms here; if that is one arm" in said
    assert "Group_Norm and group norm are different arms here" in said
    assert said.count("are different arms") == 2
