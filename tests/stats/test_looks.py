"""Looks while seeds are added: exactness by counting, bounds against published ones, decisions as they must be."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from looks import Simulation
from normlab.errors import InputError
from normlab.stats.equivalence import tost_p
from normlab.stats.looks import Course, Design, follow
from normlab.stats.pairing import Pairing
from normlab.stats.sequential import sign_columns, sums_at_looks, upper_p
from normlab.stats.signflip import signflip_p
from normlab.stats.spending import look_seeds, normal_bounds, spent

RNG = np.random.default_rng(5)


def counted_p(values: list[int], looks: list[int], shares: list[Fraction]) -> list[Fraction]:
    """The smallest level at which the observed signs cross by each look, by trying all levels and all patterns."""
    patterns = list(product([1, -1], repeat=looks[-1]))
    levels = sorted({Fraction(count, len(patterns)) / share for share in shares for count in range(len(patterns) + 1)})
    found: list[Fraction] = []
    for last in range(len(looks)):
        for level in levels:
            crossed: set[tuple[int, ...]] = set()
            for look, share in zip(looks[: last + 1], shares, strict=False):
                left = [pattern for pattern in patterns if pattern not in crossed]
                sums = {pattern: sum(s * v for s, v in zip(pattern[:look], values, strict=False)) for pattern in left}
                budget = level * share * len(patterns)
                crossed |= {one for one in left if sum(sums[other] >= sums[one] for other in left) <= budget}
            if patterns[0] in crossed:
                found.append(level)
                break
    return found


@pytest.mark.parametrize("values", [[3, 1, 2, 5, 4, 2], [3, -1, 2, 5, 4, 2], [1, 1, 1, 1, 1, 1], [7, 2, -1, 3, -2, 4]])
def test_p_is_the_smallest_level_found_by_counting_every_pattern(values: list[int]) -> None:
    looks, shares = [3, 4, 6], [Fraction(1, 5), Fraction(3, 10), Fraction(1, 2)]
    sums = sums_at_looks(np.array([values], dtype=float), looks, sign_columns(6, (0,), bits=6))[0]
    expected = [float(p) if p <= Fraction(1, 4) else 1.0 for p in counted_p(values, looks, shares)]
    np.testing.assert_allclose(upper_p(sums, [float(share) for share in shares]), expected, rtol=1e-9)


@pytest.mark.parametrize("draw", [RNG.normal, RNG.standard_cauchy, RNG.exponential, lambda size: np.ones(size)])
def test_no_level_is_exceeded_over_all_patterns_of_signs(draw: object) -> None:
    sizes = np.abs(draw(size=8))  # type: ignore[operator]
    looks, shares = [4, 5, 8], np.diff(spent([4 / 8, 5 / 8, 1.0]), prepend=0)
    signs = sign_columns(8, (0,), bits=8)
    ps = []
    for pattern in product([1, -1], repeat=8):
        ps.append(upper_p(sums_at_looks(np.array([sizes * pattern]), looks, signs)[0], shares))
    last = np.sort(np.array(ps)[:, -1])
    assert (np.arange(1, 257) / 256 <= last + 1e-9)[last < 1].all()
    assert (last < 1).any()
    assert (np.diff(np.array(ps), axis=1) <= 0).all()  # p never rises from look to look


def test_random_flips_hold_the_level_as_well() -> None:
    looks, shares = [6, 12, 20], np.diff(spent([0.3, 0.6, 1.0]), prepend=0)
    ps = []
    for study in range(600):
        signs = sign_columns(20, (3, study), bits=9)
        sums = sums_at_looks(RNG.standard_t(2, size=(1, 20)), looks, signs)[0]
        ps.append(upper_p(sums, shares)[-1])
    for level in (0.05, 0.1, 0.2):
        assert np.mean(np.array(ps) <= level) <= level + 3 * math.sqrt(level * (1 - level) / 600)
    assert np.mean(np.array(ps) <= 0.2) > 0.1


def test_more_seeds_change_no_earlier_sign_and_the_observed_pattern_is_the_last() -> None:
    few, many = sign_columns(20, (1,), bits=6), sign_columns(30, (1,), bits=6)
    assert (many[:, :20] == few).all()
    assert (many[-1] == 1).all()
    assert len({tuple(row) for row in many[:, :6].tolist()}) == 64
    assert (sign_columns(30, (2,), bits=6)[:, 6:] != many[:, 6:]).any()


def test_bounds_are_those_published() -> None:
    """gsDesign: Lan-DeMets O'Brien-Fleming and Pocock of five looks; the default of three looks, gamma -4."""
    times = np.arange(1, 6) / 5
    obrien = np.diff(2 * ndtr(-ndtri(1 - 0.0125) / np.sqrt(times)), prepend=0)
    np.testing.assert_allclose(normal_bounds(obrien, times), [4.877, 3.357, 2.680, 2.290, 2.031], atol=6e-4)
    pocock = np.diff(0.025 * np.log(1 + (math.e - 1) * times), prepend=0)
    np.testing.assert_allclose(normal_bounds(pocock, times), [2.438, 2.427, 2.410, 2.397, 2.386], atol=6e-4)
    thirds = np.arange(1, 4) / 3
    default = np.diff(0.025 * spent(thirds, gamma=-4), prepend=0)
    np.testing.assert_allclose(normal_bounds(default, thirds), [3.010739, 2.546531, 1.999226], atol=2e-6)


def test_sign_flips_of_many_normal_differences_have_the_bounds_of_normal_theory() -> None:
    looks, times = [40, 80, 120, 160, 200], np.arange(1, 6) / 5
    shares = np.diff(spent(times), prepend=0)
    values = RNG.normal(size=(1, 200))
    sums = sums_at_looks(values, looks, sign_columns(200, (4,)))[0]
    roots = np.array([math.sqrt(np.square(values[0, :look]).sum()) for look in looks])
    bounds = normal_bounds(0.025 * shares, times)
    for place in range(5):  # the observed sums are put a little below and above the bound of one look
        for offset, crosses in ((-0.1, False), (0.1, True)):
            moved = sums.copy()
            moved[:, -1] = 0.0
            moved[place, -1] = (bounds[place] + offset) * roots[place]
            assert (upper_p(moved, shares)[-1] <= 0.025) == crosses


@pytest.mark.parametrize("gamma", [-4.0, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("family", [1, 6, 300])
def test_all_of_the_level_is_spent_and_no_more(gamma: float, family: int) -> None:
    for most in (1, 7, 8, 30, 64, 200, 1000):
        looks = look_seeds(most, family, gamma=gamma)
        assert looks[-1] == most
        assert list(looks) == sorted(set(looks))
        shares = np.diff(spent([seeds / most for seeds in looks], gamma), prepend=0.0)
        assert shares.sum() == pytest.approx(1)
        assert (shares > 0).all()
        for seeds, share in zip(looks[:-1], shares, strict=False):
            assert (
                0.05 / (2 * family) * share * 2 ** min(16, seeds) >= 1 - 1e-9
            )  # at least one pattern can be significant


def test_wrong_times_are_refused() -> None:
    with pytest.raises(InputError, match="times must rise"):
        normal_bounds([0.01, 0.01], [0.5, 0.5])


def pairing(differences: np.ndarray, margin: float = 0.5, higher: bool = False) -> Pairing:
    base = np.zeros(len(differences))
    return Pairing("loss", None, "batch", "layer", differences, base, margin=margin, higher_is_better=higher)


def course(differences: np.ndarray, design: Design, margin: float = 0.5, higher: bool = False) -> Course:
    return follow([pairing(differences, margin, higher)], [len(differences)], design)[0]


def test_one_look_is_the_fixed_test() -> None:
    differences = RNG.normal(0.8, 1, size=7)
    (look,) = course(differences, Design(most=7), margin=2.0).looks
    assert look.p == pytest.approx(float(signflip_p(differences, RNG)))
    assert look.p_equivalence == pytest.approx(2 * float(tost_p(differences, 2.0, RNG)))


@pytest.mark.parametrize(
    ("mean", "deviation", "verdict"),
    [(3.0, 1.0, "b better"), (-3.0, 1.0, "a better"), (0.0, 0.1, "equivalent"), (0.45, 0.2, "b slightly better")],
)
def test_verdicts_and_their_mirror_images(mean: float, deviation: float, verdict: str) -> None:
    differences = np.random.default_rng(2).normal(mean, deviation, size=64)
    differences += mean - differences.mean()
    found = course(differences, Design(most=64))
    assert found.looks[-1].verdict == verdict or (verdict == "b slightly better" and found.verdict == "equivalent")
    assert found.state == "decided"
    assert found.seeds < 64
    exchange = {"a": "b", "b": "a"}
    mirrored = course(-differences, Design(most=64))
    assert mirrored.verdict == exchange.get(found.verdict[0], found.verdict[0]) + found.verdict[1:]
    assert [look.p for look in mirrored.looks] == [look.p for look in found.looks]
    assert course(differences, Design(most=64), higher=True).verdict == mirrored.verdict


def test_looks_are_the_same_whatever_comes_later() -> None:
    """What is decided is a function of what was there: a study that was killed decides as if it had not been."""
    design = Design(most=100)
    rows = [RNG.normal(mean, 1, size=100) for mean in (0.0, 0.4, 1.5)]
    whole = follow([pairing(row) for row in rows], [100] * 3, design)
    for seeds in (12, 13, 24, 60):
        part = follow([pairing(row[:seeds]) for row in rows], [seeds] * 3, design)
        assert [one.looks for one in part] == [
            one.looks[: len(two.looks)] for one, two in zip(whole, part, strict=True)
        ]


def test_a_decided_comparison_passes_its_level_on() -> None:
    design, rng = Design(most=32), np.random.default_rng(11)
    clear = rng.normal(4, 1, size=32)
    for _ in range(60):
        faint = rng.normal(0.5, 1, size=32)
        alone, both = course(faint, design), follow([pairing(faint), pairing(faint)], [32] * 2, design)[0]
        beside = follow([pairing(faint), pairing(clear)], [32, 32], design)[0]
        assert beside.looks[-1].p <= both.looks[-1].p
        if alone.verdict != "undecided" and both.verdict == "undecided":
            assert beside.verdict != "undecided"
            break
    else:
        pytest.fail("no study in which the level decides")


def test_a_comparison_whose_runs_ended_is_still_in_the_family() -> None:
    rows = [RNG.normal(0.0, 1, size=16), RNG.normal(1.0, 1, size=64)]
    courses = follow([pairing(row) for row in rows], [16, 64], Design(most=64))
    assert [look.seeds for look in courses[0].looks][-1] == 16
    alone = follow([pairing(rows[1])], [64], Design(most=64))[0]
    assert courses[1].looks[-1].p >= alone.looks[-1].p


def test_hopeless_is_said_from_a_quarter_of_the_seeds_on_and_never_where_a_verdict_is_near() -> None:
    rng = np.random.default_rng(8)
    noise = rng.normal(0, 1, size=16)
    noise -= noise.mean()
    found = course(noise, Design(most=64), margin=0.01)
    assert (found.state, found.seeds, found.verdict) == ("hopeless", 16, "undecided")
    assert course(noise[:12], Design(most=64), margin=0.01).state == "open"
    assert course(noise, Design(most=64), margin=1.0).state in ("open", "decided")
    assert course(noise + 0.7, Design(most=64), margin=0.01).state in ("open", "decided")
    assert course(noise, Design(most=16), margin=0.01).state == "all seeds"


def test_runs_that_diverged_or_failed() -> None:
    differences = np.full(16, 0.01)
    assert course(differences, Design(most=16)).verdict == "equivalent"
    differences[14] = np.inf
    assert course(differences, Design(most=16)).verdict != "equivalent"
    assert course(np.full(16, np.inf), Design(most=16)).verdict == "b better"
    differences[14] = np.nan
    found = course(differences, Design(most=16))
    assert (found.verdict, found.looks[-1].pairs, found.looks[-1].seeds) == ("equivalent", 15, 16)
    assert course(np.full(3, np.nan), Design(most=16)).state == "open"


def test_what_is_equal_by_construction_costs_the_others_nothing() -> None:
    row = RNG.normal(1, 1, size=32)
    equal = Pairing("loss", None, "batch", "none", np.zeros(32), np.zeros(32), margin=0.5, tested=False)
    together = follow([equal, pairing(row)], [32, 32], Design(most=32))
    assert together[1].looks == course(row, Design(most=32)).looks
    assert (together[0].verdict, together[0].state) == ("equivalent", "decided")


def test_the_fixed_design_is_named_beside() -> None:
    found = course(np.tile([0.2, 1.4], 32), Design(most=64), margin=0.01)
    assert found.state == "decided"
    assert found.fixed is not None
    assert 5 <= found.fixed <= found.seeds


@pytest.mark.parametrize("part", ["error", "partial", "margin"])
def test_simulated_studies_hold_their_level(part: str) -> None:
    """A fast version of ``benchmarks/looks.py``."""
    rows = getattr(Simulation(studies=20, most=32, gamma=1.0, bits=9, seed=1), part)()
    assert not any(row["too many"] for row in rows)
    wrong = sum(float(row["wrong"]) * 20 for row in rows)
    assert wrong <= 0.05 * 20 * len(rows) + 3 * math.sqrt(0.05 * 0.95 * 20 * len(rows))


def test_simulated_power_rises_and_seeds_fall_with_the_effect() -> None:
    rows = Simulation(studies=25, most=48, gamma=1.0, bits=11, seed=2).power()
    assert [row["effect"] for row in rows][-1] == 2.0
    assert float(rows[-1]["found"]) == 1.0
    assert float(rows[-1]["seeds"]) <= 16 < float(rows[2]["seeds"])
