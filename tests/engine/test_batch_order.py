"""Which samples come into a batch: few classes, whole blocks, and the first samples only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from helpers import recipe_of, small_study
from normlab.engine.batch_order import classes_apart, shuffled_blocks
from normlab.engine.initial_state import draw
from normlab.errors import InputError
from normlab.plan import resolve
from normlab.tasks.article import ARTICLE
from normlab.tasks.catalog import find_task
from normlab.training import Training


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    batch_size=st.integers(1, 40),
    most=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_no_batch_holds_more_classes_and_every_sample_stands_once(
    counts: list[int], batch_size: int, most: int, seed: int
) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    batch_size = min(batch_size, len(classes) // len(counts))  # as many full batches as classes, or more
    order = classes_apart(np.random.default_rng(seed), classes, batch_size, most)
    assert sorted(order) == list(range(len(classes)))
    batches = [classes[order[first : first + batch_size]] for first in range(0, len(classes), batch_size)]
    assert max(len(set(batch)) for batch in batches) <= most


def test_classes_are_mixed_within_batches_and_between_epochs() -> None:
    """With ten equal classes all but a few batches hold both of two, and which two changes."""
    classes = np.repeat(np.arange(10), 100)
    rng = np.random.default_rng(0)
    first, second = (classes_apart(rng, classes, 20, 2) for _ in range(2))
    pairs = [{tuple(sorted(set(batch))) for batch in classes[order].reshape(-1, 20)} for order in (first, second)]
    assert sum(len(pair) == 2 for pair in pairs[0]) > 0.8 * len(pairs[0])
    assert len(pairs[0] | pairs[1]) > 25
    in_batch = [np.diff(np.flatnonzero(batch == batch[0])) for batch in classes[first].reshape(-1, 20)]
    assert max(step.max(initial=1) for step in in_batch) > 1, "the classes of a batch are shuffled"


def test_blocks_stay_together() -> None:
    order = shuffled_blocks(np.random.default_rng(0), 60, 6)
    assert sorted(order) == list(range(60))
    assert all(len(set(block)) == 1 for block in (order // 6).reshape(-1, 6))
    assert (order != np.arange(60)).mean() > 0.8


def test_a_run_keeps_the_blocks_of_its_task_in_batches_and_parts_of_them() -> None:
    for batch_size in (64, 16):
        state = draw(recipe_of("none", "batch-relative", batch_size=batch_size), 0)
        assert {len(set(rows // 64)) for rows in state.batches()} == {1}
        assert sorted(np.concatenate([state.batch_of(step) for step in range(1024 // batch_size)])) == list(range(1024))


def test_a_run_takes_the_first_samples_only() -> None:
    whole, part = draw(recipe_of("none", "digits"), 0), draw(recipe_of("none", "digits", samples=200), 0)
    assert np.array_equal(part.data.training.inputs, whole.data.training.inputs[:200])
    assert np.array_equal(part.data.held_out["test"].inputs, whole.data.held_out["test"].inputs)
    assert part.order.shape == (2, 200)
    assert part.recipe.arm.condition.steps == 2 * 4
    assert part.weight_hash == whole.weight_hash


def test_every_seed_has_batches_of_few_classes_of_its_own_whatever_the_norm() -> None:
    states = [
        draw(recipe_of(norm, "digits", batch_classes=2, batch_size=32), seed) for norm in NORMS for seed in (0, 1)
    ]
    assert [state.batch_hash for state in states[:2]] == [state.batch_hash for state in states[2:]]
    assert states[0].batch_hash != states[1].batch_hash
    targets = states[0].data.training.targets
    assert {len(set(targets[rows])) for rows in states[0].batches()} == {1, 2}


NORMS = ("batch", "layer")
UNFIT = {
    "more samples than there are": ("digits", {"samples": 1078}, "at most the 1077 training samples of digits"),
    "batches of more than the samples": ("digits", {"samples": 30}, "at most the 30 training samples that are taken"),
    "more classes than there are": ("digits", {"batch_classes": 11}, "at most the 10 classes of digits"),
    "classes of numbers": ("adding", {"batch_classes": 2}, "needs one class for each sample"),
    "classes of sequences": ("reversal", {"batch_classes": 2}, "needs one class for each sample"),
    "too few batches": ("digits", {"batch_classes": 2, "batch_size": 128}, "as there are classes, 10; there are 8"),
    "parts of blocks": ("batch-relative", {"batch_size": 48}, "must divide the 64 samples of a block"),
    "samples that end in a block": ("batch-relative", {"samples": 100}, "must be whole blocks of 64"),
    "classes of blocks": ("batch-relative", {"batch_classes": 2}, "whose batches are its blocks"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_batches_that_cannot_be_are_a_gap_with_its_reason(case: str) -> None:
    task, training, reason = UNFIT[case]
    with pytest.raises(InputError, match=reason):
        resolve(small_study(norms=["none"], tasks=[task], training=Training(**training)))


def test_one_class_in_a_batch_cannot_be() -> None:
    with pytest.raises(ValidationError, match="must be 0, for shuffled batches, or at least 2; got 1"):
        Training(batch_classes=1)


def test_blocks_must_be_whole() -> None:
    with pytest.raises(InputError, match="must have whole blocks of 64 training samples; got 1000"):
        replace(ARTICLE, blocks=64).load(0, 0)
    assert find_task("batch-relative").load(0, 0)
