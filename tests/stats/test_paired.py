"""The comparison of norms: figures, verdicts, notes, and what must not matter."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from normlab.errors import InputError
from normlab.stats.estimate import bounded
from normlab.stats.intervals import bootstrap_t, signflip_interval
from normlab.stats.multiplicity import seeds_for_significance
from normlab.stats.paired import Comparison, Options, Pairing, compare
from normlab.stats.pairing import Note
from normlab.stats.power import seeds_for_difference
from normlab.stats.spread import spread_test

OPTIONS = Options(resamples=1000, flips=5000)
PLAIN = Options(resamples=1000, flips=5000, full_level_seeds=1)


def pairing(a, b, **fields) -> Pairing:
    return Pairing("loss", "digits", "batch", "layer", np.asarray(a), np.asarray(b), **fields)


def only(item: Pairing, options: Options = OPTIONS) -> Comparison:
    return compare([item], options, np.random.default_rng(0))[0]


def mirrored(item: Pairing) -> Pairing:
    return replace(item, a=item.b, b=item.a, values_a=item.values_b, values_b=item.values_a)


def noisy(n: int, effect: float, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose differences have exactly this mean and standard deviation."""
    base, z = np.random.default_rng(seed).normal(size=(2, n))
    return base + effect + noise * (z - z.mean()) / z.std(ddof=1), base


def family(n: int = 20) -> list[Pairing]:
    """Clear, absent, equivalent, diverged, missing and spread comparisons of different numbers of pairs."""
    a, b = noisy(n, 1.0)
    c, d = noisy(n + 20, 0.0, 1)
    worst, gap = a.copy(), b.copy()
    worst[3], gap[4] = np.inf, np.nan
    wide, narrow = noisy(80, 0.0, 2)
    return [
        pairing(a, b, margin=0.1),
        pairing(c, d, margin=0.1),
        pairing(c, c + 0.001 * d, margin=0.1),
        pairing(worst, b, margin=5.0),
        pairing(a, gap),
        pairing(3 * wide, narrow, kind="spread", margin=0.1),
    ]


def test_every_figure_of_a_comparison_against_an_oracle():
    a, b = noisy(12, 0.1)
    a[0] = b[0]
    found = only(pairing(a, b, margin=0.5, scale="ratio"))
    assert found.pairs == 12
    assert found.difference == pytest.approx((a - b).mean())
    inverted, resampled = signflip_interval(a - b), bootstrap_t(a - b, np.random.default_rng(9), resamples=100_000)
    assert found.ci[0] == pytest.approx(min(inverted[0], resampled[0]), abs=0.05)
    assert found.ci[1] == pytest.approx(max(inverted[1], resampled[1]), abs=0.05)
    assert found.effect_size == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    oracle = stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.p == found.p_holm == pytest.approx(oracle.pvalue)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon((a - b)[1:], method="exact").pvalue)
    sides = [
        stats.permutation_test(
            (shifted,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="greater"
        ).pvalue
        for shifted in (a - b + 0.5, 0.5 - a + b)
    ]
    assert found.p_equivalence == found.p_equivalence_holm == pytest.approx(min(1, 2 * max(sides)))
    towards = np.sign((a - b).mean())
    oracle = stats.permutation_test(
        (towards * (a - b) - 0.5,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="greater"
    )
    assert found.p_beyond == found.p_beyond_holm == pytest.approx(min(1, 2 * oracle.pvalue))
    wins = (a < b).sum() + 0.5
    assert found.probability_a_better == wins / 12
    assert found.probability_ci == pytest.approx(proportion_confint(wins, 12, method="wilson"))
    assert found.correlation == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert (found.metric, found.context, found.a, found.b, found.scale) == ("loss", "digits", "batch", "layer", "ratio")
    assert (found.confidence, found.margin) == (0.95, 0.5)
    assert found.verdict == "undecided"
    assert found.seeds_needed is not None
    assert found.seeds_needed > 12


@pytest.mark.parametrize("n", [7, 16, 30, 64])
def test_an_interval_that_leaves_out_zero_has_a_test_that_does_too(n):
    """For skewed differences of all sizes, at the same level."""
    generator = np.random.default_rng(n)
    pairings = [pairing(generator.exponential(size=n) - centre, np.zeros(n)) for centre in np.linspace(-1, 3, 40)]
    found = compare(pairings, Options(resamples=2000, flips=20_000), np.random.default_rng(0))
    apart = [item for item in found if item.ci[0] > 0 or item.ci[1] < 0]
    assert 10 < len(apart) < 40
    assert all(item.p <= 0.05 * 1.05 for item in apart)  # random flips of test and interval differ


def test_holm_is_over_the_whole_family():
    found = compare(family(), OPTIONS, np.random.default_rng(0))
    assert [item.p_holm for item in found] == pytest.approx(multipletests([item.p for item in found], method="holm")[1])
    beyond = multipletests([item.p_beyond for item in found], method="holm")[1]
    assert [item.p_beyond_holm for item in found] == pytest.approx(beyond)
    tested = [item for item in found if not math.isnan(item.margin)]
    expected = multipletests([item.p_equivalence for item in tested], method="holm")[1]
    assert [item.p_equivalence_holm for item in tested] == pytest.approx(expected)
    assert math.isnan(found[4].p_equivalence_holm)


def test_verdicts():
    found = compare(family(), OPTIONS, np.random.default_rng(0))
    assert [item.verdict for item in found] == [
        "b better",
        "undecided",
        "equivalent",
        "b better",
        "b better",
        "b better",
    ]
    assert found[0].better == "layer"
    assert found[1].better is None
    assert [item.seeds_needed for item in found if item.verdict != "undecided"] == [None] * 5


def assert_same(first: Comparison, second: Comparison) -> None:
    for name, value in asdict(first).items():
        other = asdict(second)[name]
        if isinstance(value, float | tuple) and name != "notes":
            assert value == pytest.approx(other, nan_ok=True), name
        else:
            assert value == other, name


def test_what_is_equal_by_construction_costs_the_family_nothing():
    tested = [pairing(*noisy(12, 1.0, seed), margin=0.1) for seed in range(3)]
    zero = pairing(np.zeros(12), np.zeros(12), margin=0.1, tested=False)
    alone, beside = (compare(items, OPTIONS, np.random.default_rng(0)) for items in (tested, [*tested, zero]))
    assert [item.p_holm for item in beside[:3]] == [item.p_holm for item in alone]
    assert [item.p_equivalence_holm for item in beside[:3]] == [item.p_equivalence_holm for item in alone]
    assert (beside[3].verdict, beside[3].sign, beside[3].seeds_needed) == ("equivalent", 0, None)
    assert beside[3].notes == (Note("equal by construction"),)
    assert math.isnan(beside[3].p_holm)


def test_readers_are_told_the_labels():
    a, b = noisy(20, 1.0)
    found = only(pairing(a, b, label_a="BatchNorm", label_b="LayerNorm"))
    assert (found.better, found.better_label, found.worse) == ("layer", "LayerNorm", "batch")
    assert only(pairing(a, b)).better_label == "layer"


def test_the_sign_is_that_of_what_is_sure_be_it_small():
    a, b = noisy(25, 0.01, noise=0.004)
    small, open_one = only(pairing(a, b, margin=0.02)), only(pairing(*noisy(25, 0.0)))
    assert (small.sign, small.mirrored().sign, small.verdict, open_one.sign) == (1, -1, "equivalent", 0)
    assert not small.beyond_margin
    assert only(pairing(a, b, margin=0.001)).beyond_margin


def test_better_is_higher_or_lower():
    a, b = noisy(20, 1.0)
    lower, higher = only(pairing(a, b)), only(pairing(a, b, higher_is_better=True))
    assert (lower.verdict, higher.verdict) == ("b better", "a better")
    assert lower.probability_a_better == pytest.approx(1 - higher.probability_a_better)


def test_significant_and_within_the_margin_is_equivalent():
    a, b = noisy(25, 0.01, noise=0.004)
    found = only(pairing(a, b, margin=0.02))
    assert found.p_holm < 0.001
    assert found.verdict == "equivalent"
    assert Note("smaller than the margin") in found.notes
    assert only(pairing(a, b, margin=0.005)).verdict == "b better"


def test_no_result_depends_on_the_order_of_pairings_or_seeds():
    pairings = family()
    expected = compare(pairings, OPTIONS, np.random.default_rng(5))
    order = np.random.default_rng(0).permutation(len(pairings))
    shuffled = compare([pairings[index] for index in order], OPTIONS, np.random.default_rng(5))
    assert [repr(expected[index]) for index in order] == [repr(item) for item in shuffled]
    places = np.random.default_rng(1).permutation(40)
    c, d = pairings[1].values_a, pairings[1].values_b
    moved = pairing(c[places], d[places], seeds=np.arange(40)[places], margin=0.1)
    again = compare([pairings[0], moved, *pairings[2:]], OPTIONS, np.random.default_rng(5))
    assert repr(again) == repr(expected)


def test_other_pairings_change_only_the_correction():
    pairings = family()
    whole = compare(pairings, OPTIONS, np.random.default_rng(5))
    for item, together in zip(pairings, whole, strict=True):
        alone = compare([item], OPTIONS, np.random.default_rng(5))[0]
        assert (alone.p, alone.p_wilcoxon) == (together.p, together.p_wilcoxon)
        assert alone.ci == pytest.approx(together.ci, rel=1e-12)


def test_exchanging_the_norms_mirrors_everything():
    opposite = {"a better": "b better", "b better": "a better", "b slightly better": "a slightly better"}
    pairings = family()
    forward = compare(pairings, OPTIONS, np.random.default_rng(5))
    backward = compare([mirrored(item) for item in pairings], OPTIONS, np.random.default_rng(5))
    for one, other in zip(forward, backward, strict=True):
        assert_same(one.mirrored(), other)
        assert other.difference == pytest.approx(-one.difference)
        assert other.ci == pytest.approx((-one.ci[1], -one.ci[0]))
        for name in ("p", "p_wilcoxon", "p_holm", "p_equivalence", "correlation", "seeds_needed", "missing"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), nan_ok=True), name
        assert other.probability_a_better == pytest.approx(1 - one.probability_a_better, nan_ok=True)
        assert other.meaningful == one.meaningful
        assert (other.diverged_a, other.diverged_b) == (one.diverged_b, one.diverged_a)
        assert other.verdict == opposite.get(one.verdict, one.verdict)


@settings(deadline=None, max_examples=100)
@given(
    arrays(np.float64, (2, 9), elements=st.sampled_from([0.0, 0.5, 1.25, -2.0, np.inf, np.nan])),
    st.sampled_from(["mean", "spread"]),
    st.booleans(),
)
def test_any_mixture_of_runs_gives_a_consistent_comparison(values, kind, higher_is_better):
    if higher_is_better:
        values = -values
    found = only(pairing(*values, kind=kind, higher_is_better=higher_is_better, margin=0.5))
    both = ~np.isnan(values).any(axis=0)
    assert found.pairs == both.sum()
    assert found.missing == 9 - found.pairs
    assert (found.diverged_a, found.diverged_b) == tuple(np.isinf(values[:, both]).sum(axis=1))
    if found.pairs == 0:
        assert math.isnan(found.p)
        assert found.verdict == "undecided"
    elif kind == "mean":
        assert 2.0 ** (1 - found.pairs) <= found.p <= 1
    if not math.isnan(found.difference):
        assert found.ci[0] <= found.difference <= found.ci[1]
    if found.verdict == "undecided" and found.seeds_needed is not None:
        assert found.seeds_needed > found.pairs
    if kind == "spread":
        assert found.verdict == "undecided"


def test_a_norm_against_itself_is_equivalent_where_seeds_suffice():
    values = np.random.default_rng(0).normal(size=12)
    found = only(pairing(values, values, margin=0.01))
    assert (found.difference, found.ci, found.p, found.effect_size) == (0.0, (0.0, 0.0), 1.0, 0.0)
    assert found.verdict == "equivalent"
    assert found.probability_a_better == 0.5
    assert not found.meaningful
    unnamed = only(pairing(values, values))
    assert unnamed.verdict == "undecided"
    assert unnamed.seeds_needed is None


class TestDiverged:
    def test_it_counts_as_the_largest_finite_difference(self):
        assert bounded(np.array([-np.inf, 0.5, -2.0, np.inf])).tolist() == [-2.0, 0.5, -2.0, 2.0]
        assert bounded(np.array([np.inf, 0.0])).tolist() == [1.0, 0.0]

    def test_it_counts_against_its_norm(self):
        """Equal but for eight runs of eight that diverged: those decide."""
        b = np.arange(8.0)
        found = only(pairing(np.full(8, np.inf), b), PLAIN)
        assert found.p == 2 / 2**8
        assert found.verdict == "b better"
        assert found.probability_a_better == 0
        assert math.isnan(found.difference)
        higher = only(pairing(np.full(8, -np.inf), b, higher_is_better=True), PLAIN)
        assert (higher.verdict, higher.diverged_a) == ("b better", 8)

    def test_both_diverged_is_a_tie(self):
        a, b = np.r_[np.arange(6.0), np.inf], np.r_[np.arange(6.0) + 1, np.inf]
        found = only(pairing(a, b))
        assert (found.pairs, found.p, found.probability_a_better) == (7, 2 / 2**6, 6.5 / 7)
        assert (found.diverged_a, found.diverged_b) == (1, 1)

    def test_effect_is_over_finite_pairs_and_a_note_says_so(self):
        a, b = noisy(20, 0.0)
        a[:2] = np.inf
        found = only(pairing(a, b))
        assert found.difference == pytest.approx((a - b)[2:].mean())
        assert Note("diverged", {"a": 2, "b": 0, "pairs": 18}) in found.notes

    def test_it_is_never_equivalent(self):
        values = np.random.default_rng(0).normal(size=20)
        other = values.copy()
        other[0] = np.inf
        found = only(pairing(values, other, margin=0.5))
        assert found.p_equivalence == 1
        assert found.verdict == "undecided"

    def test_the_verdict_follows_the_test_not_the_finite_pairs(self):
        """A is lower wherever it finishes, but it diverges in most of its runs."""
        b = np.full(20, 1.0)
        a = np.r_[np.full(3, 0.9), np.full(17, np.inf)]
        found = only(pairing(a, b))
        assert found.difference == pytest.approx(-0.1)
        assert found.verdict == "b better"
        assert found.effect_size > 0

    def test_it_is_a_valid_test(self):
        """Where both norms diverge as often, in other seeds, one is called better in at most 5% of the studies."""
        generator = np.random.default_rng(0)
        wrong = 0
        for _ in range(400):
            a, b = generator.normal(size=(2, 16))
            a[generator.random(16) < 0.15], b[generator.random(16) < 0.15] = np.inf, np.inf
            wrong += only(pairing(a, b), Options(resamples=400, full_level_seeds=1)).verdict != "undecided"
        assert stats.binomtest(wrong, 400, 0.05).pvalue > 0.001

    def test_a_perfect_run_is_not_a_diverged_one(self):
        a, b = np.r_[-np.inf, np.arange(7.0)], np.arange(8.0) + 2
        found = only(pairing(a, b), PLAIN)
        assert (found.diverged_a, found.diverged_b, found.verdict) == (0, 0, "a better")
        assert Note("infinite", {"infinite": 1, "pairs": 7}) in found.notes


def test_too_few_seeds_are_told():
    a, b = np.arange(5.0), np.arange(5.0) + 1
    found = compare([pairing(a, b)] * 60, OPTIONS, np.random.default_rng(0))[0]
    least = seeds_for_significance(60, full=64)
    values = {"seeds": 5, "alpha": 0.05, "family": 60, "least": least}
    assert Note("too few for significance", values) in found.notes
    assert found.verdict == "undecided"
    assert found.seeds_needed is None
    assert Note("too few for power") in found.notes
    assert found.ci == (-math.inf, math.inf)
    assert math.isnan(found.p_holm), "what the seeds cannot support is in no family"
    assert only(pairing(np.arange(6.0), np.arange(6.0) + 1), PLAIN).notes == ()


def test_missing_seeds_are_left_out_and_told():
    a, b = noisy(10, 3.0)
    holes = a.copy(), b.copy()
    holes[0][2], holes[1][[2, 5]] = np.nan, np.nan
    kept = np.delete(np.arange(10), [2, 5])
    with_holes, without = only(pairing(*holes)), only(pairing(a[kept], b[kept]))
    assert (with_holes.pairs, with_holes.missing) == (8, 2)
    assert (with_holes.p, with_holes.ci) == (without.p, without.ci)
    assert Note("missing", {"seeds": 2}) in with_holes.notes


def test_seeds_needed_would_decide():
    """The same differences over and over, as many as were said to be needed, are decided."""
    a, b = noisy(10, 0.5, 3)
    few = only(pairing(a, b))
    assert few.verdict == "undecided"
    assert few.seeds_needed == seeds_for_difference(few.effect_size, full=64)
    differences = np.random.default_rng(0).choice(a - b, (200, few.seeds_needed))
    decided = [only(pairing(row, 0 * row), Options(resamples=400, flips=2000)).verdict for row in differences]
    assert stats.binomtest(decided.count("b better"), 200, 0.8).pvalue > 0.001


def test_seeds_needed_is_the_sooner_of_difference_and_equivalence():
    a, b = noisy(10, 0.02, 3)
    near, far = only(pairing(a, b, margin=3.0)), only(pairing(a, b, margin=0.5))
    assert near.verdict == "equivalent"
    assert far.seeds_needed < only(pairing(a, b)).seeds_needed
    hopeless = only(pairing(np.tile([1.0, -1.0], 5), np.tile([0.0, 0.0], 5)))
    assert hopeless.seeds_needed is None
    assert Note("no number of seeds", {"most": 1_000_000}) in hopeless.notes


@pytest.mark.parametrize(("wins", "meaningful"), [(14, False), (15, True), (20, True), (5, True), (6, False)])
def test_meaningful_asks_for_three_of_four_pairs(wins, meaningful):
    difference = np.r_[np.full(wins, -1.0), np.full(20 - wins, 1.0)]
    assert only(pairing(difference, np.zeros(20))).meaningful == meaningful


def test_meaningful_asks_for_more_than_half_surely():
    difference = np.array([-1.0, -1.0, -1.0, 1.0])
    found = only(pairing(difference, np.zeros(4)))
    assert found.probability_a_better == 0.75
    assert not found.meaningful


class TestSpread:
    def test_figures_are_those_of_the_test_of_distances(self):
        a, b = noisy(80, 0.0, noise=0.5)
        test = spread_test(2 * a, b)
        found = only(pairing(2 * a, b, kind="spread", margin=0.1, scale="ratio"), Options())
        assert found.difference == test.log_ratio
        assert found.p == pytest.approx(test.p, abs=1e-3)
        assert found.ci == pytest.approx(test.interval(), rel=0.05)
        assert found.verdict == "b better"
        assert only(pairing(2 * a, b, kind="spread", higher_is_better=True)).verdict == "b better"

    def test_below_64_seeds_nothing_is_decided(self):
        a, b = noisy(63, 0.0, noise=0.5)
        found = only(pairing(5 * a, b, kind="spread"))
        assert found.p < 0.01
        assert (found.verdict, found.seeds_needed) == ("undecided", 64)
        assert Note("too few for a spread", {"seeds": 63, "least": 64}) in found.notes

    def test_a_diverged_run_leaves_it_undecided(self):
        a, b = noisy(90, 0.0, noise=0.5)
        a[0] = np.inf
        found = only(pairing(5 * a, b, kind="spread"))
        assert (found.verdict, found.seeds_needed) == ("undecided", None)
        assert Note("diverged, no spread", {"a": 1, "b": 0, "pairs": 89}) in found.notes

    def test_one_extreme_run_decides_nothing(self):
        a, b = noisy(80, 0.0, noise=0.1)
        a[7] = 20
        found = only(pairing(a, b, kind="spread"))
        assert (found.p > 0.05, found.verdict) == (True, "undecided")

    def test_equal_spreads_are_equivalent(self):
        a, b = noisy(400, 1.0, noise=0.1)
        assert only(pairing(a, b, kind="spread", margin=0.2)).verdict == "equivalent"


def test_wrong_pairings_are_refused():
    values = np.arange(3.0)
    for fields, message in (
        ({"values_b": values[:2]}, "one value for each seed"),
        ({"seeds": np.array([1, 1, 2])}, "each seed may occur once"),
        ({"margin": -0.1}, "margin must be finite"),
        ({"margin": math.inf}, "margin must be finite"),
    ):
        with pytest.raises(InputError, match=message):
            pairing(values, **({"b": values} | fields)) if "values_b" not in fields else pairing(values, values[:2])


def test_huge_values_do_no_harm():
    """Runs on the edge of divergence reach losses that overflow when squared, or when subtracted."""
    a, b = noisy(20, 1.0)
    plain, huge = only(pairing(a, b, margin=0.1)), only(pairing(a * 1e250, b * 1e250, margin=1e249))
    for name in ("p", "p_wilcoxon", "p_equivalence", "effect_size", "correlation", "verdict", "seeds_needed"):
        assert getattr(huge, name) == pytest.approx(getattr(plain, name)), name
    only(pairing(a * 1e250, b * 1e250, kind="spread"))
    edge = only(pairing(np.r_[1.7e308, a], np.r_[-1.7e308, b]))
    assert (edge.pairs, edge.verdict) == (21, "b better")


def test_an_empty_family():
    assert compare([], OPTIONS, np.random.default_rng(0)) == []
    assert asdict(only(pairing([], [])))["pairs"] == 0
