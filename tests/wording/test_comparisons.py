"""Effects, intervals and verdicts in words: one unit in a sentence, verdicts by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from normlab.stats.comparisons import comparisons
from normlab.stats.options import Options
from normlab.stats.paired import compare
from normlab.stats.pairing import Comparison, Pairing
from normlab.wording.comparisons import (
    Effect,
    change_interval,
    comparison_sentence,
    effect_text,
    interval_range,
    interval_text,
    note_text,
    notes_text,
    verdict_text,
)
from normlab.wording.definitions import definitions
from normlab.wording.numbers import number
from synthetic import article_plan, made_results


def compared(
    log_ratio: float, spread: float = 0.05, seeds: int = 20, scale: str = "ratio", **fields: object
) -> Comparison:
    generator = np.random.default_rng(0)
    b = generator.standard_normal(seeds)
    a = b + log_ratio + spread * generator.standard_normal(seeds)
    labels = {"label_a": "BatchNorm", "label_b": "LayerNorm", "margin": 0.1, "scale": "ratio"}
    pairing = Pairing("loss", None, "batch", "layer", a, b, **{**labels, **fields})  # type: ignore[arg-type]
    return compare([pairing], Options(), np.random.default_rng(0))[0]


def test_effect_and_interval_are_in_one_unit() -> None:
    item = compared(math.log(2.35))
    assert effect_text(item) == f"BatchNorm is {number(math.exp(item.difference))} times LayerNorm"
    low, high = (number(math.exp(bound)) for bound in item.ci)
    assert interval_range(item) == f"{low} to {high} times"
    assert f"times LayerNorm (95% interval {low} to {high} times, unadjusted, 20 seeds" in comparison_sentence(item)
    percent = compared(-0.15)
    assert "% below LayerNorm (95% interval 1" in comparison_sentence(percent)
    assert comparison_sentence(percent).count("%") >= 4
    assert " below, unadjusted, 20 seeds" in comparison_sentence(percent)
    assert interval_range(percent).endswith("% below")
    assert "times" not in comparison_sentence(percent)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.2, "10.5% to 22.1% above"),
        (-0.2, -0.1, "9.5% to 18.1% below"),
        (-0.1, 0.2, "9.5% below to 22.1% above"),
        (-0.1, 1.2, "0.905 to 3.32 times"),
    ],
)
def test_intervals_read_in_the_direction_of_the_effect(low: float, high: float, text: str) -> None:
    assert interval_text(Effect((low + high) / 2, low, high, True), 0.95) == f"95% interval {text}"


def test_changes_are_more_or_less_and_plain_differences_have_their_unit() -> None:
    assert change_interval(Effect(-0.15, -0.2, -0.1, True), 0.9) == "90% interval 9.5% to 18.1% less"
    effect = Effect(0.02, -0.01, 0.05, False, "bits")
    assert interval_text(effect, 0.95) == "95% interval 0.01 bits below to 0.05 bits above"
    assert interval_text(Effect(0.0, -math.inf, math.inf, True), 0.95) == ("95% interval unbounded")
    assert interval_text(Effect(math.nan, math.nan, math.nan, True), 0.95) == "no 95% interval"


def test_no_effect_is_said_in_words() -> None:
    assert effect_text(compared(0.0, spread=0.0)) == "BatchNorm equals LayerNorm"
    assert effect_text(compared(math.nan)) == "BatchNorm against LayerNorm: no seed for which both finished"


def test_verdicts_name_the_norm() -> None:
    assert verdict_text(compared(0.5)) == "LayerNorm better"
    assert verdict_text(compared(-0.5)) == "BatchNorm better"
    assert verdict_text(compared(0.5, higher_is_better=True)) == "BatchNorm better"
    assert verdict_text(compared(0.0)) == "equivalent"
    assert verdict_text(compared(0.1, spread=0.5, seeds=5)) == "undecided"
    assert verdict_text(compared(0.1)) == "LayerNorm better, perhaps by less than matters"


def test_the_sentence_holds_all_that_matters() -> None:
    plan = article_plan(20, ("batch", "layer"))
    finals = {"batch": 0.1 + np.arange(20) / 1000, "layer": 0.05 + np.arange(20) / 2100}
    items = comparisons(plan.study, made_results(plan, finals), np.random.default_rng(0))
    (item,) = (item for item in items if item.metric == "test_loss")
    sentence = comparison_sentence(item)
    assert sentence.startswith("test loss: BatchNorm is 2.0")
    assert sentence.endswith(
        "times, unadjusted, 20 seeds, better for 100% of the seeds (84% to 100%), which is meaningful): "
        "LayerNorm better"
    )


def test_every_kind_of_note_is_a_sentence() -> None:
    few = compared(0.5, seeds=3)
    assert (
        notes_text(few) == "3 seeds cannot decide among 1 comparison; at least 9 are needed. "
        "So few seeds do not say how many would decide."
    )
    values = np.arange(12.0)
    missing = np.where(values < 2, np.nan, values)
    broken = np.where(values < 1, np.inf, values)

    def notes(a: np.ndarray, b: np.ndarray, **fields: object) -> str:
        pairing = Pairing("loss", None, "a", "b", a, b, label_a="A", label_b="B", **fields)  # type: ignore[arg-type]
        return notes_text(compare([pairing], Options(), np.random.default_rng(0))[0])

    assert notes(values, missing).startswith("2 seeds left out, for which a run of A or of B is missing.")
    assert notes(broken, values).startswith(
        "1 run of A and 0 runs of B diverged and count as worst; the size of the difference is over the 11 seeds for "
        "which both finished."
    )
    assert "a diverged run has no spread" in notes(broken, values, kind="spread")
    assert "needs at least 64 seeds; these are 12" in notes(values, values[::-1].copy(), kind="spread")
    assert "equal by construction" in notes(values, values, tested=False)
    within = values + 0.01 + np.arange(12) % 3 / 1000
    assert "smaller than what matters" in notes(within, values, margin=0.5)
    kinds = {note.kind for note in few.notes}
    assert kinds == {"too few for significance", "too few for power"}
    assert note_text(few.notes[0], few).endswith("at least 9 are needed")


def test_definitions_are_sentences() -> None:
    plan = article_plan(2, ("batch",))
    (results,) = made_results(plan, {"batch": [0.1, 0.2]})
    meanings = definitions(results.definitions.values())
    assert {"roughness", "loss left after a quarter", "P(first better)", "canonical loss"} <= set(meanings)
    assert all(text.endswith(".") and text[0].isupper() for text in meanings.values())
