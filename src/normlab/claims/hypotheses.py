"""What a claim says would be measured: plain data, fixed before the runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from normlab.errors import InputError, nearest
from normlab.study.arm import frozen_options

At = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Comparative:
    """ "``metric`` of ``a`` is below, above or close to that of ``b``", judged by their paired comparison.

    Arguments:
        metric: name of a metric.
        a, b: norms as a study names them.
        relation: ``close to`` means within the margin.
        task: the task it is about; the only one of the claim's study if empty.
        at: values of swept fields by path, at which alone it is to hold; at all of them if empty.
        margin: difference too small to matter, on the scale on which the metric is compared; the metric's own if
            None.
    """

    metric: str
    a: str
    relation: Literal["below", "above", "close to"]
    b: str
    task: str = ""
    at: At = ()
    margin: float | None = None

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it needs."""
        return (self.a, self.b)


@dataclass(frozen=True)
class Threshold:
    """ "The mean ``metric`` of ``norm`` is at most or at least ``value``", judged by its interval.

    Arguments:
        metric, norm, task, at: as for `Comparative`.
        relation, value: the threshold.
    """

    metric: str
    norm: str
    relation: Literal["at most", "at least"]
    value: float
    task: str = ""
    at: At = ()

    @property
    def norms(self) -> tuple[str, ...]:
        """The norm that it needs."""
        return (self.norm,)


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
    """

    metric: str
    norm: str
    over: str
    relation: Literal["falls", "rises", "stays"]
    task: str = ""
    at: At = ()
    margin: float | None = None

    @property
    def norms(self) -> tuple[str, ...]:
        """The norm that it needs."""
        return (self.norm,)


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


Hypothesis = Comparative | Threshold | Trend | Interaction
KINDS: Mapping[str, type[Hypothesis]] = {
    "comparative": Comparative,
    "threshold": Threshold,
    "trend": Trend,
    "interaction": Interaction,
}
RELATIONS: Mapping[str, tuple[str, ...]] = {
    "comparative": ("below", "above", "close to"),
    "threshold": ("at most", "at least"),
    "trend": ("falls", "rises", "stays"),
    "interaction": ("falls", "rises", "stays", "changes"),
}


def with_norms(hypothesis: Hypothesis, names: Mapping[str, str]) -> Hypothesis:
    """The hypothesis with its norms under other names.

    >>> with_norms(Threshold("final_loss", "batch:eps=1e-5", "at most", 0.1), {"batch:eps=1e-5": "batch"}).norm
    'batch'
    """
    if isinstance(hypothesis, Comparative | Interaction):
        return replace(hypothesis, a=names[hypothesis.a], b=names[hypothesis.b])
    return replace(hypothesis, norm=names[hypothesis.norm])


def kind_of(hypothesis: Hypothesis) -> str:
    """The name of its kind.

    >>> kind_of(Threshold("final_loss", "batch", "at most", 0.1))
    'threshold'
    """
    return next(name for name, kind in KINDS.items() if type(hypothesis) is kind)


def hypothesis_as_dict(hypothesis: Hypothesis) -> dict[str, Any]:
    """A hypothesis as plain data."""
    content = {"kind": kind_of(hypothesis), **asdict(hypothesis)}
    return content | {"at": {path: plain_value(value) for path, value in hypothesis.at}}


def hypothesis_from_dict(content: Mapping[str, Any]) -> Hypothesis:
    """The hypothesis that ``hypothesis_as_dict`` gave.

    Raises:
        InputError: it is of no known kind, or its fields are others.
    """
    fields = dict(content)
    kind = str(fields.pop("kind", ""))
    if kind not in KINDS:
        raise InputError("a hypothesis must be of a known kind", repr(kind), nearest(kind, KINDS))
    at = frozen_options(fields.pop("at", {}))
    try:
        return KINDS[kind](**fields, at=at)
    except TypeError:
        known = ", ".join(KINDS[kind].__dataclass_fields__)
        raise InputError(f"a {kind} must have its fields", sorted(fields), f"They are {known}.") from None


def plain_value(value: Any) -> Any:
    """Tuples as lists, as they come back from JSON and TOML."""
    return [plain_value(item) for item in value] if isinstance(value, tuple | list) else value
