"""What is said of the noise of the batch loss."""

from __future__ import annotations

import numpy as np

from normlab.stats.arm_results import arm_results
from normlab.wording.noise import noise_sentences
from synthetic import POINTS, article_plan, diverged, made_outcome

FLAT = np.full(len(POINTS), 0.05)


def said(*terms: dict[str, np.ndarray], canonical: np.ndarray = FLAT) -> tuple[str, ...]:
    plan = article_plan(seeds=len(terms) + 1, norms=("batch",))
    outcomes = [made_outcome(plan.arms[0], seed, canonical, term) for seed, term in enumerate(terms)]
    return noise_sentences(arm_results(plan, [*outcomes, diverged(plan.arms[0], len(terms))]))


def test_the_mean_of_what_raises_the_loss_is_said_against_the_loss() -> None:
    steady = 0.01 * np.random.default_rng(0).standard_normal(64)
    assert said({"batch_statistics": 0.03 + steady - steady.mean()}) == (
        "Late in training batch statistics add 0.03 to the batch loss of BatchNorm on average, 60% of its canonical "
        "loss of 0.05.",
    )
    (dropout,) = said({"dropout": 0.01 + steady - steady.mean()})
    assert dropout.startswith("Late in training dropout adds 0.01 to the batch loss of BatchNorm on average, 20% of")


def test_nothing_is_said_of_noise_that_is_steady_and_raises_nothing() -> None:
    assert said({"sampling": 0.01 * np.random.default_rng(0).standard_normal(64)}) == ()
    assert noise_sentences(arm_results(article_plan(seeds=1), [])) == ()
    assert said({"batch_statistics": np.full(64, 0.1)}, canonical=0 * FLAT) == (), "there is no share of nothing"


def test_jumps_are_said_where_most_runs_have_them() -> None:
    steady = 0.01 * np.random.default_rng(0).standard_normal(64)
    jumps = steady.copy()
    jumps[[10, 40]] += 0.5
    (sentence,) = said({"sampling": jumps}, {"sampling": jumps}, {"sampling": steady})
    assert sentence.startswith("A few jumps make the late fluctuation of BatchNorm's batch loss: the largest 3 of 64")
    assert said({"sampling": jumps}, {"sampling": steady}, {"sampling": steady}) == ()
