"""The verdicts on runs that somebody trained elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from normlab.errors import InputError, nearest
from normlab.judging.histories import read_take
from normlab.judging.judgement import Judgement
from normlab.judging.read import RunTable, is_unnamed, natural, read_table, text_of
from normlab.judging.remarks import remarks
from normlab.judging.rows import (
    NAMES,
    SEEDS,
    STEPS,
    charts_as_rows,
    chosen_rows,
    how_to_reshape,
    refuse_wide,
    with_pattern,
)
from normlab.judging.runs import Columns, Place, Runs, Strata, gather_runs
from normlab.judging.spec import Margins, wanted_metrics
from normlab.seeding import stream
from normlab.stats import formulas
from normlab.stats.aggregate import over_conditions
from normlab.stats.estimate import estimate
from normlab.stats.metric import Metric
from normlab.stats.options import Options
from normlab.stats.paired import judge as judge_family
from normlab.stats.pairing import Family, Pairing, TwoSamples
from normlab.stats.pooled import Pooled
from normlab.stats.spread import LEAST_SEEDS
from normlab.stats.unpaired import Unpaired


def judge(
    table: object,
    *,
    arm: str,
    metrics: str | Sequence[str],
    seed: str | None = None,
    margin: Margins = None,
    conditions: Sequence[str] = (),
    where: Sequence[str] = (),
    control: str | None = None,
    step: str | None = None,
    take: str = "last",
    pattern: str | None = None,
    unpaired: bool = False,
    options: Options | None = None,
) -> Judgement:
    """Judges runs that are in a table: which arm is better, equivalent or undecided, and how many seeds would decide.

    Runs of two arms are paired where they have the same seed and condition, whatever the order of the rows. Arms that
    share no seed are compared with an exact permutation test of runs that are not paired. A run whose value is NaN or
    infinite has diverged and counts as the worst; one without a value is left out and named. A history whose last value
    is not finite has diverged; where no cell of the metric is empty, as in pandas, a NaN is no value if a number
    follows, or if at the end it goes on for no more steps than before some number of the run. Positive metrics of
    which lower is better are compared by their ratio, others by their difference; a margin in percent asks for the
    ratio, one in the metric's unit for the difference. The first metric is the primary one, over all of whose
    comparisons Holm's correction goes; others are looked at and not judged, and so is the spread over seeds from 64
    pairs on.

    Arguments:
        table: the path of a CSV, TSV, Parquet, JSON or JSON-lines file, a polars or pandas frame, or a list of rows;
            a row for each run, or for each step of it, with metrics in columns or, in a long table, by tag and value.
        arm: the column that says what is compared, such as ``norm``; a tracker's prefix such as ``params.`` or
            ``config.model.`` may be left out here and below.
        metrics: ``name:lower`` or ``name:higher`` each; a name alone where it says its direction.
        seed: the column that pairs runs; by default one of that name if there is one.
        margin: differences too small to matter, named before the runs: ``"2%"`` or ``0.01`` of the primary metric, or
            a mapping by metric. Without one nothing can be equivalent.
        conditions: columns in which runs of a comparison agree, such as the dataset.
        where: ``column=value`` or ``column!=value``: only these rows.
        control: the arm that all others are compared with; every pair of arms if None.
        step: the column of steps or epochs of a history, whose runs the column of seeds tells apart.
        take: what of a history counts: ``last``, ``best`` or ``mean-of-last=5``.
        pattern: a regular expression whose named groups become columns, for the names of runs.
        unpaired: whether seeds are no pairs, because nothing was the same for runs of one seed.
        options: of the statistics; those of studies if None.

    Raises:
        InputError: something cannot be used: a column that is not there, text among numbers, several values of one
            run, fewer than two arms, one run of each, a column for each arm.

    >>> rows = [
    ...     {"norm": norm, "seed": seed, "val_loss": 0.5 + better + 0.01 * (seed * 7 % 5)}
    ...     for norm, better in {"batch": 0.0, "group": -0.1}.items() for seed in range(12)
    ... ]
    >>> judgement = judge(rows, arm="norm", metrics="val_loss:lower", margin="2%")
    >>> judgement.comparisons[0].verdict, judgement.comparisons[0].pairs
    ('b better', 12)
    """
    options = options or Options()
    wanted = wanted_metrics(metrics, margin)
    read = with_pattern(charts_as_rows(read_table(table)), pattern)
    if not (read.has(arm) or read.has(wanted[0].name)):
        refuse_wide(read, arm, seed, wanted[0].name)
    columns = _columns(read, arm, seed, conditions, step, take, unpaired)
    rows = chosen_rows(read, where)
    arms = _arms(read, rows, columns, control)
    gathered = [gather_runs(read, rows, columns, item) for item in wanted]
    _refuse_single(read, gathered[0], columns)
    _spread_divergence(gathered)
    strata = [Strata(runs, _metric(runs), arms, _values(runs)) for runs in gathered]
    samples = [item for of_metric in strata for item in _samples(of_metric, columns, control, unpaired)]
    effects = estimate(samples, options, stream(0, "statistics"))
    compared = tuple(judge_family(samples, effects, options))
    pooled = tuple(_pooled(samples, wanted[0].name, options))
    asked = [arm, *([conditions] if isinstance(conditions, str) else conditions), *filter(None, (seed, step))]
    said = remarks(read, rows, columns, strata, compared, options, wanted=wanted, asked=asked)
    return Judgement(read.origin, columns, control, arms, tuple(strata), compared, pooled, tuple(said), options)


def _columns(
    table: RunTable,
    arm: str,
    seed: str | None,
    conditions: Sequence[str],
    step: str | None,
    take: str,
    unpaired: bool,
) -> Columns:
    found = table.column(arm, "arm")
    if seed is None and (step is not None or not unpaired):  # a history needs it to tell runs apart
        for name in SEEDS:
            try:
                seed = table.column(name, "seed")
                break
            except InputError:
                continue
    seed = table.column(seed, "seed") if seed is not None else None
    if step is not None and seed is None:
        names = next((name for name in table.columns if name.lower() in NAMES), "")
        advice = f"Say `seed={names}`." if names else "Name the column of seeds, or of the names of runs, with `seed`."
        raise InputError("the rows of a history must say which run they are of", "no column of seeds", advice)
    if take != "last" and step is None:
        there = [name for name in table.columns if name.lower() in STEPS]
        advice = f"Say `step={there[0]}`." if there else "Name the column of steps or epochs with `step`."
        raise InputError("`take` is for histories", f"{take!r} without a column of steps", advice)
    if isinstance(conditions, str):
        conditions = [conditions]
    named = tuple(dict.fromkeys(table.column(name, "conditions") for name in conditions))
    if twice := {found, seed} & set(named) or ({found} if found == seed else set()):
        rule = "arm, seed and conditions must be different columns"
        raise InputError(rule, f"{next(iter(twice))!r} twice", "Name another one.")
    return Columns(found, seed, named, table.column(step, "step") if step else None, read_take(take))


def _refuse_single(table: RunTable, runs: Runs, columns: Columns) -> None:
    """Refuses arms of one run each: nothing can be decided, and most such tables have a column for each arm."""
    counts = Counter((place, arm) for place, arm, _ in runs.values)
    if not counts or max(counts.values()) > 1:
        return
    arms = len({arm for _, arm in counts})
    advice = "Give several seeds of each."
    wide = [name for name in table.columns if name != columns.seed and table.holds_measurements(name)]
    if columns.arm in wide and len(wide) > 1:
        ids = [columns.seed] if columns.seed else []
        advice = how_to_reshape(ids, wide, "arm", "value")
    raise InputError("an arm must have several runs", f"one of each of {arms} arms in {columns.arm!r}", advice)


def _spread_divergence(gathered: Sequence[Runs]) -> None:
    """A run that diverged in the primary metric is the worst in each: what else was measured of it means nothing."""
    primary, *others = gathered
    lost = [key for key, value in primary.values.items() if not math.isfinite(value)]
    for runs in others:
        runs.values |= {key: math.nan for key in lost if key in runs.values or key in runs.empty}
        runs.empty = [key for key in runs.empty if key not in runs.values]


def _arms(table: RunTable, rows: Sequence[int], columns: Columns, control: str | None) -> tuple[str, ...]:
    """Every arm, the control first."""
    cells = table.columns[columns.arm]
    found = {text_of(cells[row]) for row in rows if not is_unnamed(cells[row])}
    arms = sorted(found, key=natural)
    if len(arms) < 2:
        advice = "Check `arm`, and `where` if you gave it."
        raise InputError(f"there must be two arms in {columns.arm!r}", f"{arms[0]!r} alone" if arms else "none", advice)
    if control is None:
        return tuple(arms)
    if control not in found:
        raise InputError(f"`control` must be one of the arms in {columns.arm!r}", repr(control), nearest(control, arms))
    return (control, *(arm for arm in arms if arm != control))


def _metric(runs: Runs) -> Metric:
    """The metric as one of a study, on the scale on which its runs are compared."""
    wanted = runs.wanted
    finite = [value for value in runs.values.values() if math.isfinite(value)]
    positive = all(value > 0 for value in finite)
    if wanted.relative and not positive:
        rule = f"a margin in percent needs positive values of {wanted.name!r}"
        raise InputError(rule, f"{min(finite):g}", "Give a margin in the metric's unit, such as 0.01.")
    is_ratio = wanted.relative if wanted.relative is not None else positive and not wanted.higher_is_better
    return Metric(
        wanted.name,
        wanted.name.replace("_", " "),
        "",
        (wanted.name,),
        formulas.last(wanted.name),
        margin=math.log1p(wanted.margin) if is_ratio else wanted.margin,
        higher_is_better=wanted.higher_is_better,
        scale="ratio" if is_ratio else "difference",
    )


def _values(runs: Runs) -> dict[Place, dict[str, dict[str, float]]]:
    """The values by condition, arm and seed, with the worst value for runs that diverged; all in natural order."""
    worst = -math.inf if runs.wanted.higher_is_better else math.inf
    ordered = sorted(runs.values, key=lambda key: ([natural(value) for _, value in key[0]], *map(natural, key[1:])))
    found: dict[Place, dict[str, dict[str, float]]] = {}
    for key in ordered:
        place, arm, seed = key
        value = runs.values[key]
        found.setdefault(place, {}).setdefault(arm, {})[seed] = value if math.isfinite(value) else worst
    return found


def _samples(strata: Strata, columns: Columns, control: str | None, unpaired: bool) -> Iterator[TwoSamples]:
    """Every pair of arms of each condition, or each arm against the control."""
    family: Family = strata.runs.wanted.family
    for place, arms in strata.values.items():
        for first, second in combinations([arm for arm in strata.arms if arm in arms], 2):
            if control is None or first == control:
                a, b = (second, first) if control is not None else (first, second)
                yield from _pair(strata.metric, place, (a, arms[a]), (b, arms[b]), family, unpaired or not columns.seed)


def _pair(
    metric: Metric,
    place: Place,
    first: tuple[str, Mapping[str, float]],
    second: tuple[str, Mapping[str, float]],
    family: Family,
    unpaired: bool,
) -> Iterator[TwoSamples]:
    (a, of_a), (b, of_b) = first, second
    common: dict[str, Any] = {
        "metric": metric.name,
        "context": place,
        "a": a,
        "b": b,
        "higher_is_better": metric.higher_is_better,
        "scale": "ratio" if metric.is_ratio else "difference",
        "margin": metric.margin,
        "family": family,
    }
    if unpaired or not of_a.keys() & of_b.keys():
        values = [metric.comparable(np.array(list(values.values()))) for values in (of_a, of_b)]
        yield Unpaired(values_a=values[0], values_b=values[1], **common)
        return
    seeds = sorted(of_a.keys() | of_b.keys(), key=natural)
    paired = [metric.comparable(np.array([values.get(one, math.nan) for one in seeds])) for values in (of_a, of_b)]
    found = Pairing(values_a=paired[0], values_b=paired[1], **common)
    yield found
    if family == "primary" and found.pairs >= LEAST_SEEDS:
        spread = {"metric": f"{metric.name}_spread", "kind": "spread", "scale": "ratio", "family": "exploratory"}
        yield Pairing(values_a=paired[0], values_b=paired[1], **{**common, **spread, "margin": math.nan})


def _pooled(samples: Iterable[TwoSamples], metric: str, options: Options) -> Iterator[Pooled]:
    """Each pair of arms over all conditions, where both have pairs in several."""
    groups: dict[tuple[str, str], list[Pairing]] = {}
    for item in samples:
        if isinstance(item, Pairing) and item.metric == metric and item.pairs:
            groups.setdefault((item.a, item.b), []).append(item)
    for (a, b), pairings in groups.items():
        if len(pairings) > 1:
            effect = over_conditions([item.differences() for item in pairings], stream(0, "overview"), options)
            yield Pooled("", metric, a, b, len(pairings), effect)
