"""Random streams: the same for the same key, independent for different ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from normlab.seeding import stream

Key = tuple[int, str, str, int]
keys = st.tuples(st.integers(0, 2**63 - 1), st.text(max_size=5), st.text(max_size=5), st.integers(0, 10_000))


@given(keys)
def test_the_same_key_gives_the_same_numbers(key: Key) -> None:
    assert np.array_equal(stream(*key).random(8), stream(*key).random(8))


@given(keys, keys)
def test_different_keys_give_different_numbers(first: Key, second: Key) -> None:
    if first != second:
        assert not np.array_equal(stream(*first).random(8), stream(*second).random(8))


def test_neighbouring_seeds_are_uncorrelated() -> None:
    draws = np.stack([stream(0, "weights", "article", seed).standard_normal(2000) for seed in range(40)])
    correlations = np.corrcoef(draws)[np.triu_indices(40, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_numbers_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert stream(0, "batches", "article", 0).integers(1000, size=4).tolist() == [303, 400, 108, 743]
