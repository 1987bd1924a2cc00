"""What a claim says would be measured: plain data, fixed before the runs.

A hypothesis is about a contrast, a weighted sum of a metric over arms that is below, above or close to zero, or about
the level of one arm. Each says which arms it needs, so that whatever judges it knows none of the kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, ClassVar, Literal

from normlab.errors import InputError, nearest
from normlab.stats.contrast import Contrast, Term, difference, minus, slope, summed, trend
from normlab.study.arm import frozen_options

At = tuple[tuple[str, Any], ...]
Sweep = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Comparative:
    """ "``metric`` of ``a`` is below, above or close to that of ``b``", judged by their paired comparison.

    Arguments:
        metric: name of a metric.
        a, b: norms as a study names them; the same twice compares it with itself elsewhere (``at_b``).
        relation: ``close to`` means within the margin.
        task: the task it is about; the only one of the claim's study if empty.
        at: values of swept fields by path, at which alone it is to hold; at all of them if empty.
        margin: difference too small to matter, on the scale on which the metric is compared; the metric's own if
            None.
        at_b: values of fields that ``at`` gives, where those of ``b`` are others.
        summed_over: path of a swept field over whose values the metric is added up for both norms, such as the rates
            at which a run learns; empty for none.
    """

    kind: ClassVar[str] = "comparative"
    relations: ClassVar[tuple[str, ...]] = ("below", "above", "close to")

    metric: str
    a: str
    relation: Literal["below", "above", "close to"]
    b: str
    task: str = ""
    at: At = ()
    margin: float | None = None
    at_b: At = ()
    summed_over: str = ""

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it needs."""
        return tuple(dict.fromkeys((self.a, self.b)))

    @property
    def given(self) -> At:
        """The values of swept fields that it names."""
        return (*self.at, *self.at_b)

    @property
    def ranges(self) -> tuple[str, ...]:
        """The swept fields of which it takes several values at once."""
        return (*dict(self.at_b), *([self.summed_over] if self.summed_over else []))

    def renamed(self, names: Mapping[str, str]) -> Comparative:
        """The same with its norms under other names."""
        return replace(self, a=names[self.a], b=names[self.b])

    def contrast(self, at: At, sweep: Sweep) -> Contrast:
        """What is weighed.

        Arguments:
            at: values of the swept fields that it does not range over.
            sweep: all values of the claim's swept fields.
        """
        here = {**dict(at), **{path: value for path, value in frozen_options(dict(self.at)) if path in self.ranges}}
        there = {**here, **dict(frozen_options(dict(self.at_b)))}
        if not self.summed_over:
            return replace(difference(self.metric, self.a, self.b, here, there), margin=self.margin)
        path, values = self.summed_over, sweep[self.summed_over]
        return replace(summed(self.metric, self.a, self.b, path, values, here, there), margin=self.margin)


@dataclass(frozen=True)
class Threshold:
    """ "The mean ``metric`` of ``norm`` is at most, at least or near ``value``", judged by its interval.

    Arguments:
        metric, norm, task, at: as for `Comparative`.
        relation, value: the threshold.
        tolerance: of ``near``, as a share of the value: 0.05 holds within 5% of it.
    """

    kind: ClassVar[str] = "threshold"
    relations: ClassVar[tuple[str, ...]] = ("at most", "at least", "near")

    metric: str
    norm: str
    relation: Literal["at most", "at least", "near"]
    value: float
    task: str = ""
    at: At = ()
    tolerance: float = 0.0

    @property
    def norms(self) -> tuple[str, ...]:
        """The norm that it needs."""
        return (self.norm,)

    @property
    def given(self) -> At:
        """The values of swept fields that it names."""
        return self.at

    @property
    def ranges(self) -> tuple[str, ...]:
        """None: it is about one arm."""
        return ()

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which the mean must lie."""
        if self.relation == "near":
            slack = abs(self.value) * self.tolerance
            return self.value - slack, self.value + slack
        return (-float("inf"), self.value) if self.relation == "at most" else (self.value, float("inf"))

    def renamed(self, names: Mapping[str, str]) -> Threshold:
        """The same with its norm under another name."""
        return replace(self, norm=names[self.norm])


@dataclass(frozen=True)
class Trend:
    """ "``metric`` of ``norm`` falls or rises with ``over``", judged by the slope of each seed.

    The slope is that of a straight line through the metric, on the scale on which it is compared, against the
    logarithm of the field to base 2: the change for each doubling; see `normlab.stats.contrasts.trend`.

    Arguments:
        metric, norm, task, at: as for `Comparative`.
        over: path of a swept field, such as ``training.batch_size``, with positive values.
        relation: ``falls``, ``rises``, or ``stays``: within the margin.
        margin: change for each doubling that is too small to matter; if None, the metric's own margin is what is too
            small over the whole sweep.
        against: a norm whose slope is taken away, so that it falls where ``norm`` falls more steeply or rises less;
            empty for none.
    """

    kind: ClassVar[str] = "trend"
    relations: ClassVar[tuple[str, ...]] = ("falls", "rises", "stays")

    metric: str
    norm: str
    over: str
    relation: Literal["falls", "rises", "stays"]
    task: str = ""
    at: At = ()
    margin: float | None = None
    against: str = ""

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it needs."""
        return tuple(norm for norm in (self.norm, self.against) if norm)

    @property
    def given(self) -> At:
        """The values of swept fields that it names."""
        return self.at

    @property
    def ranges(self) -> tuple[str, ...]:
        """The swept field of which it takes all values."""
        return (self.over,)

    def renamed(self, names: Mapping[str, str]) -> Trend:
        """The same with its norms under other names."""
        return replace(self, norm=names[self.norm], against=names.get(self.against, ""))

    def contrast(self, at: At, sweep: Sweep) -> Contrast:
        """What is weighed; arguments as for `Comparative.contrast`."""
        lines = [trend(self.metric, norm, self.over, sweep[self.over], dict(at)) for norm in self.norms]
        return replace(minus(*lines) if self.against else lines[0], margin=self.margin)


@dataclass(frozen=True)
class OptionTrend:
    """ "``metric`` falls or rises from norm to norm with their ``option``", judged by the slope of each seed.

    Arguments:
        metric, task, at: as for `Comparative`.
        norms: norms that differ in one option, such as ``group:groups=2`` and ``group:groups=4``.
        option: what they differ in, for the sentence.
        values: its positive value for each of them.
        relation, margin: as for `Trend`.
    """

    kind: ClassVar[str] = "option trend"
    relations: ClassVar[tuple[str, ...]] = ("falls", "rises", "stays")

    metric: str
    norms: tuple[str, ...]
    option: str
    values: tuple[float, ...]
    relation: Literal["falls", "rises", "stays"]
    task: str = ""
    at: At = ()
    margin: float | None = None

    @property
    def given(self) -> At:
        """The values of swept fields that it names."""
        return self.at

    @property
    def ranges(self) -> tuple[str, ...]:
        """None: it is about one condition."""
        return ()

    def renamed(self, names: Mapping[str, str]) -> OptionTrend:
        """The same with its norms under other names."""
        return replace(self, norms=tuple(names[norm] for norm in self.norms))

    def contrast(self, at: At, sweep: Sweep) -> Contrast:
        """What is weighed; arguments as for `Comparative.contrast`."""
        arms = [(norm, dict(at)) for norm in self.norms]
        return replace(slope(self.metric, arms, self.values, self.option), margin=self.margin)


@dataclass(frozen=True)
class Interaction:
    """ "The difference of ``a`` and ``b`` in ``metric`` falls, rises, stays or changes with ``over``".

    Judged by (a - b at ``last``) - (a - b at ``first``), seed by seed, on the scale on which the metric is compared:
    it falls where the metric of ``a`` is lower against that of ``b`` than it was.

    Arguments:
        metric, a, b, task, at, margin: as for `Comparative`.
        over: path of a swept field.
        first, last: two of its values.
        relation: ``changes`` is falls or rises.
    """

    kind: ClassVar[str] = "interaction"
    relations: ClassVar[tuple[str, ...]] = ("falls", "rises", "stays", "changes")

    metric: str
    a: str
    b: str
    over: str
    first: Any
    last: Any
    relation: Literal["falls", "rises", "stays", "changes"]
    task: str = ""
    at: At = ()
    margin: float | None = None

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it needs."""
        return (self.a, self.b)

    @property
    def given(self) -> At:
        """The values of swept fields that it names."""
        return (*self.at, (self.over, self.first), (self.over, self.last))

    @property
    def ranges(self) -> tuple[str, ...]:
        """The swept field of which it takes two values."""
        return (self.over,)

    def renamed(self, names: Mapping[str, str]) -> Interaction:
        """The same with its norms under other names."""
        return replace(self, a=names[self.a], b=names[self.b])

    def contrast(self, at: At, sweep: Sweep) -> Contrast:
        """What is weighed; arguments as for `Comparative.contrast`."""
        last, first = (
            difference(self.metric, self.a, self.b, {**dict(at), self.over: value}) for value in (self.last, self.first)
        )
        return replace(minus(last, first), margin=self.margin)


Weighed = Comparative | Trend | OptionTrend | Interaction
Hypothesis = Weighed | Threshold
KINDS: Mapping[str, type[Hypothesis]] = {
    kind.kind: kind for kind in (Comparative, Threshold, Trend, OptionTrend, Interaction)
}


def places(hypothesis: Hypothesis, sweep: Sweep) -> Iterator[At]:
    """The values of swept fields at which a hypothesis is judged, each on its own; those it ranges over are left out.

    >>> better = Comparative("test_loss", "layer", "below", "batch", at=(("training.batch_size", 8),))
    >>> list(places(better, {"training.batch_size": (8, 64), "training.epochs": (5, 50)}))
    [(('training.batch_size', 8), ('training.epochs', 5)), (('training.batch_size', 8), ('training.epochs', 50))]
    """
    fixed = dict(frozen_options(dict(hypothesis.at)))
    choices = {
        path: (fixed[path],) if path in fixed else values
        for path, values in sweep.items()
        if path not in hypothesis.ranges
    }
    for values in product(*choices.values()):
        yield tuple(zip(choices, values, strict=True))


def terms(hypothesis: Hypothesis, at: At, sweep: Sweep) -> tuple[Term, ...]:
    """The arms that a hypothesis needs at one of its places."""
    if isinstance(hypothesis, Threshold):
        return (Term(1.0, hypothesis.norm, at),)
    return hypothesis.contrast(at, sweep).terms


def hypothesis_as_dict(hypothesis: Hypothesis) -> dict[str, Any]:
    """A hypothesis as plain data."""
    fields = {name: plain_value(value) for name, value in asdict(hypothesis).items()}
    tables = {name: dict(fields[name]) for name in _TABLES if name in fields}
    return {"kind": hypothesis.kind, **fields, **tables}


def hypothesis_from_dict(content: Mapping[str, Any]) -> Hypothesis:
    """The hypothesis that ``hypothesis_as_dict`` gave.

    Raises:
        InputError: it is of no known kind, or its fields are others.
    """
    fields = dict(content)
    kind = str(fields.pop("kind", ""))
    if kind not in KINDS:
        raise InputError("a hypothesis must be of a known kind", repr(kind), nearest(kind, KINDS))
    try:
        return KINDS[kind](**dict(frozen_options(fields)))
    except TypeError:
        known = ", ".join(KINDS[kind].__dataclass_fields__)
        raise InputError(f"a {kind} must have its fields", sorted(fields), f"They are {known}.") from None


_TABLES = ("at", "at_b")


def plain_value(value: Any) -> Any:
    """Tuples as lists, as they come back from JSON and TOML."""
    return [plain_value(item) for item in value] if isinstance(value, tuple | list) else value
