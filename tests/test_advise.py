"""The recommendation follows the comparisons, and says what limits it."""

from __future__ import annotations

import numpy as np

from normlab.advise import Advice, advise
from normlab.stats.family import comparisons
from synthetic import article_plan, made_groups

NORMS = ("batch", "layer", "rms")


def advice(finals: dict[str, object], seeds: int = 30) -> Advice:
    plan = article_plan(seeds, tuple(finals), claims=[])
    groups = made_groups(plan, finals)
    (found,) = advise(groups, comparisons(plan.study, groups, np.random.default_rng(0)))
    return found


def around(centre: float, seed: int, seeds: int = 30, spread: float = 0.02) -> np.ndarray:
    return centre * np.exp(spread * np.random.default_rng(seed).standard_normal(seeds))


def test_a_clear_winner_is_named_with_its_figures() -> None:
    found = advice({"batch": around(0.1, 0), "layer": around(0.05, 1), "rms": around(0.2, 2)})
    assert found.best == ("layer",)
    assert found.sentence.startswith("Use LayerNorm: its test loss (median 0.1) is better")
    assert "BatchNorm, has 0.199" in found.sentence
    assert len(found.evidence) == 2


def test_equals_are_named_together() -> None:
    found = advice({"batch": around(0.05, 0), "layer": around(0.05, 1), "rms": around(0.2, 2)})
    assert set(found.best) == {"batch", "layer"}
    assert "between them there is no difference that matters" in found.sentence
    everything = advice({name: around(0.05, i) for i, name in enumerate(NORMS)})
    assert everything.sentence.endswith("they are equivalent in test loss, within the study's margin.")


def test_too_few_seeds_recommend_nothing() -> None:
    found = advice({"batch": around(0.1, 0, 3), "layer": around(0.05, 1, 3)}, seeds=3)
    assert found.sentence.startswith("No norm can be recommended over another")
    assert "seeds would decide" in found.sentence


def test_a_norm_that_diverges_loses_and_is_told() -> None:
    broken = around(0.01, 0)
    broken[:27] = np.nan
    found = advice({"batch": broken, "layer": around(0.05, 1)})
    assert found.best == ("layer",)
    assert any("27 of 30 runs of BatchNorm diverged" in limit for limit in found.limits)


def test_a_norm_that_always_diverges_is_no_answer() -> None:
    found = advice({"batch": np.full(30, np.nan), "layer": around(0.05, 1)})
    assert found.best == ("layer",)
    alone = advice({"batch": np.full(30, np.nan), "layer": np.full(30, np.nan)})
    assert "diverged" in " ".join(alone.limits)
    assert not alone.sentence.startswith("Use ")


def test_a_single_norm_is_not_compared() -> None:
    assert "nothing to compare" in advice({"batch": around(0.1, 0)}).sentence


def test_what_limits_the_answer_is_said() -> None:
    found = advice({"batch": around(0.1, 0), "layer": around(0.05, 1)})
    assert any("learning rate 0.001" in limit for limit in found.limits)
    assert any(limit.startswith("Not converged") for limit in found.limits)
