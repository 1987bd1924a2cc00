"""What a contrast is: a weighted sum of a metric over arms, as plain data; and the usual kinds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from normlab.errors import InputError
from normlab.stats.arm_results import ArmResults
from normlab.stats.general_metrics import SEED_SPREAD
from normlab.study.arm import Condition, frozen_options

ContrastKind = Literal["difference", "sum", "trend", "interaction"]
Spacing = Literal["log2", "plain"]
Fields = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Term:
    """An arm with its weight.

    Arguments:
        weight: by which the metric of the arm is multiplied, on the metric's comparable scale.
        norm: the text of the norm.
        at: values of fields of the condition by path, which say which of a norm's arms it is.
    """

    weight: float
    norm: str
    at: Fields = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", frozen_options(dict(self.at)))

    def is_of(self, arm: ArmResults) -> bool:
        """Whether it is about that arm."""
        return arm.norm == self.norm and has_values(arm.condition, dict(self.at))


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of a metric over arms, made by `difference`, `summed`, `trend`, `slope` and `minus`.

    Arguments:
        metric: its name.
        terms: the arms with their weights, each arm once.
        kind: what it is, for the sentence that is said of it.
        path: the field over which a trend or a sum goes; empty for none.
        spacing: whether a trend is for each doubling of the field or for each unit.
        reach: how many doublings or units a trend's values span; 1 without a trend. The metric's margin is what is
            too small to matter over this whole span.
        margin: sums too small to matter; None for the metric's margin over ``reach``.

    Raises:
        InputError: fewer than two terms have a weight, or an arm occurs twice.
    """

    metric: str
    terms: tuple[Term, ...]
    kind: ContrastKind = "difference"
    path: str = ""
    spacing: Spacing = "plain"
    reach: float = 1.0
    margin: float | None = None

    def __post_init__(self) -> None:
        if sum(term.weight != 0 for term in self.terms) < 2:
            given = f"{len(self.terms)} terms with the weights {[term.weight for term in self.terms]}"
            raise InputError("a contrast must weigh at least two arms", given, "Use difference or trend.")
        if self.metric == SEED_SPREAD.name and (self.kind != "difference" or len(self.terms) > 2):
            raise InputError("a spread over seeds can be compared only", f"a {self.kind} of it", "Use difference.")
        places = [(term.norm, term.at) for term in self.terms]
        if len(set(places)) < len(places):
            twice = next(place for place in places if places.count(place) > 1)
            raise InputError("an arm may occur once in a contrast", f"{twice} twice", "Add up its weights.")

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it is about."""
        return tuple(dict.fromkeys(term.norm for term in self.terms))

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that it gives values of."""
        return tuple(dict.fromkeys(path for term in self.terms for path, _ in term.at))


def difference(
    metric: str, a: str, b: str, at: Mapping[str, Any] | None = None, at_b: Mapping[str, Any] | None = None
) -> Contrast:
    """The metric of norm ``a`` minus that of norm ``b``.

    Arguments:
        metric: its name.
        a, b: texts of the norms; the same norm twice compares two of its arms.
        at: values of fields by path, such as ``{"training.batch_size": 16}``; none if there is only one condition.
        at_b: those of ``b`` where they are others.

    >>> [term.weight for term in difference("final_loss", "batch", "layer", {"training.batch_size": 16}).terms]
    [1.0, -1.0]
    """
    fields = frozen_options(at or {})
    return Contrast(metric, (Term(1.0, a, fields), Term(-1.0, b, fields if at_b is None else frozen_options(at_b))))


def trend(
    metric: str,
    norm: str,
    path: str,
    values: Sequence[float],
    at: Mapping[str, Any] | None = None,
    spacing: Spacing = "log2",
) -> Contrast:
    """How the metric of a norm changes with a swept value: the slope of the least-squares line.

    With x the logarithms to base 2 of the values (or the values themselves, if ``spacing`` is ``plain``) the weights
    are (x - mean x) / sum((x - mean x)^2), so that the contrast is the change for each doubling (or unit).

    Arguments:
        metric: its name.
        norm: text of the norm.
        path: the field, such as ``training.batch_size``.
        values: at least two different values of it, fixed beforehand.
        at: values of other fields.
        spacing: ``log2`` for values above 0 that are multiplied from one to the next.

    Raises:
        InputError: there are fewer than two different values, or one that has no logarithm.

    >>> contrast = trend("final_loss", "batch", "training.batch_size", [16, 64, 256])
    >>> [term.weight for term in contrast.terms], contrast.reach
    ([-0.25, 0.0, 0.25], 4.0)
    """
    arms = [(norm, {**(at or {}), path: value}) for value in values]
    return slope(metric, arms, values, path, spacing)


def slope(
    metric: str,
    arms: Sequence[tuple[str, Mapping[str, Any]]],
    values: Sequence[float],
    path: str,
    spacing: Spacing = "log2",
) -> Contrast:
    """The same line through any arms, such as norms that differ in an option.

    Arguments:
        metric, spacing: as for `trend`.
        arms: the text of the norm and values of fields by path, for each arm.
        values: the number that belongs to each arm; at least two, all different.
        path: what these numbers are.

    Raises:
        InputError: as for `trend`.

    >>> arms = [("group:groups=2", {}), ("group:groups=8", {})]
    >>> [term.weight for term in slope("final_loss", arms, [2, 8], "groups").terms]
    [-0.5, 0.5]
    """
    if len(set(values)) < max(2, len(values)):
        raise InputError("a trend needs at least two different values", list(values), "Try [16, 64, 256].")
    if spacing == "log2" and min(values) <= 0:
        raise InputError("a trend over doublings needs values above 0", list(values), 'Try spacing="plain".')
    x = np.log2(np.asarray(values, dtype=np.float64)) if spacing == "log2" else np.asarray(values, dtype=np.float64)
    centred = x - x.mean()
    weights = centred / (centred @ centred)
    terms = tuple(
        Term(float(weight), norm, frozen_options(at)) for weight, (norm, at) in zip(weights, arms, strict=True)
    )
    return Contrast(metric, terms, "trend", path, spacing, float(x.max() - x.min()))


def summed(
    metric: str,
    a: str,
    b: str,
    path: str,
    values: Sequence[Any],
    at: Mapping[str, Any] | None = None,
    at_b: Mapping[str, Any] | None = None,
) -> Contrast:
    """The metric of norm ``a``, added up over the values of a field, minus that of norm ``b``.

    The number of learning rates at which a run learns, say, where the metric is 1 or 0 for each.

    Arguments:
        metric, a, b, at, at_b: as for `difference`.
        path: the field.
        values: its values.

    >>> rates = summed("learned", "batch", "none", "training.learning_rate", [0.01, 0.1])
    >>> [(term.weight, term.norm) for term in rates.terms]
    [(1.0, 'batch'), (1.0, 'batch'), (-1.0, 'none'), (-1.0, 'none')]
    """
    sides = ((1.0, a, at or {}), (-1.0, b, (at or {}) if at_b is None else at_b))
    terms = tuple(
        Term(weight, norm, frozen_options({**fields, path: value}))
        for weight, norm, fields in sides
        for value in values
    )
    return Contrast(metric, terms, "sum", path)


def minus(first: Contrast, second: Contrast) -> Contrast:
    """The interaction of two contrasts of the same metric: the first minus the second.

    The difference of two norms at a small batch minus that at a large one, say, or the trend of one norm minus that of
    another. An arm that both weigh gets the difference of its weights.

    Raises:
        InputError: the metrics, or the spans of the trends, differ.

    >>> at = [{"training.batch_size": size} for size in (16, 256)]
    >>> small, large = (difference("final_loss", "batch", "layer", fields) for fields in at)
    >>> contrast = minus(small, large)
    >>> [term.weight for term in contrast.terms], contrast.kind
    ([1.0, -1.0, -1.0, 1.0], 'interaction')
    """
    if (first.metric, first.path, first.spacing, first.reach) != (
        second.metric,
        second.path,
        second.spacing,
        second.reach,
    ):
        given = " and ".join(f"{item.metric} over {item.path or 'nothing'}" for item in (first, second))
        raise InputError("contrasts that are subtracted must be of one metric and one span", given, "Make them alike.")
    weights: dict[tuple[str, Fields], float] = {}
    for contrast, sign in ((first, 1.0), (second, -1.0)):
        for term in contrast.terms:
            place = (term.norm, term.at)
            weights[place] = weights.get(place, 0.0) + sign * term.weight
    terms = tuple(Term(weight, norm, at) for (norm, at), weight in weights.items())
    return replace(first, terms=terms, kind="interaction")


def has_values(condition: Condition, at: Mapping[str, Any]) -> bool:
    """Whether a condition has these values of fields by path; it has not if it lacks one of the fields.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Study
    >>> (arm,) = resolve(Study(name="mine", norms=["batch"], tasks=["article"])).arms
    >>> has_values(arm.condition, {"training.batch_size": 64, "model.hidden": [50]})
    True
    """
    values = condition.values()
    return all(path in values and values[path] == value for path, value in frozen_options(at))
