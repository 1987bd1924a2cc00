"""What the evidence says about which norm to use, as data: the answer, what speaks against it, and what limits it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

import numpy as np

from normlab.plan import Plan
from normlab.stats.arm_results import ArmResults, by_condition
from normlab.stats.comparisons import of_conditions, options_of, pairing
from normlab.stats.metric import Metric, margin_of
from normlab.stats.metrics import main_set, metrics_of
from normlab.stats.paired import compare
from normlab.stats.pairing import Comparison
from normlab.stats.ranking import State, rank
from normlab.stats.reach import Reach, reach_of
from normlab.stats.runs import CONVERGED, Failure, convergence, failures
from normlab.stats.tuning import TuningCurve, less_tuned
from normlab.study.arm import Condition
from normlab.study.study import Study

AnswerKind = Literal[
    "use",
    "leads",
    "tied",
    "undecided",
    "none best",
    "nothing learned",
    "one norm",
    "nothing finished",
    "no runs",
]
LimitKind = Literal[
    "not converged",
    "rising",
    "one rate",
    "nothing learned",
    "diverged",
    "failed",
    "missing",
    "slight",
    "not meaningful",
    "at edge",
    "untuned",
]


@dataclass(frozen=True)
class NormStanding:
    """How one norm stands in a condition.

    Arguments:
        norm, label: its text, and its name for readers.
        median: of the metric of the advice, diverged runs counted as worst; NaN if nothing was measured.
        planned, finished, diverged, failed, missing: numbers of runs.
        gain: median share by which the metric of the advice would still fall if the steps were doubled; NaN if
            unknown.
    """

    norm: str
    label: str
    median: float
    planned: int
    finished: int
    diverged: int
    failed: int
    missing: int
    gain: float


@dataclass(frozen=True)
class Conflict:
    """A metric that matters in which another norm is better than a recommended one.

    Arguments:
        metric: the metric.
        norm: label of the norm that is better in it.
        beaten: label of the recommended norm that is worse in it.
    """

    metric: Metric
    norm: str
    beaten: str


@dataclass(frozen=True)
class Limit:
    """What an answer does not cover.

    Arguments:
        kind: what kind of limit; see `wording` for the sentence.
        norms: labels of the norms that it is about.
        figures: a figure for each of them: a share, or a number of runs.
        all_norms: whether it is about all norms that were compared.
    """

    kind: LimitKind
    norms: tuple[str, ...] = ()
    figures: tuple[float, ...] = ()
    all_norms: bool = False


@dataclass(frozen=True)
class Advice:
    """What the evidence says in one condition.

    Arguments:
        condition: the condition.
        kind: ``use``: one norm is better than every other, and nothing of what was tried speaks against it;
            ``leads``: one norm is better than every other, but a run of it diverged, a metric that matters disagrees, a
            norm had not converged, or it is better by less than matters or for too few seeds; ``tied``: the norms that
            no other beats do not differ by what matters;
            ``undecided``: the evidence does not decide between them; ``none best``: each norm is worse than some
            other; ``nothing learned``: none of them did better than an answer without a look at the input, and where
            nothing is learned nothing is known of the norms, whatever their comparisons say; ``one norm``: there is
            nothing to compare it with; ``nothing finished``, ``no runs``: no answer.
        metric: what the norms were judged by.
        norms: labels of the norms that the answer names, the best median first.
        standings: how each norm stands, in the order of the study.
        conflicts: metrics that matter in which others are better.
        limits: what the answer does not cover.
        failures: runs that an error stopped, by kind of reason.
        reaches: how far each norm has come from knowing nothing, as far as that was measured.
        evidence: the comparisons of the norms that the answer names.
        seeds_needed: about how many seeds would decide what is undecided; None if nothing is, or no number would.
    """

    condition: Condition
    kind: AnswerKind
    metric: Metric
    norms: tuple[str, ...] = ()
    standings: tuple[NormStanding, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    limits: tuple[Limit, ...] = ()
    failures: tuple[Failure, ...] = ()
    reaches: tuple[Reach, ...] = ()
    evidence: tuple[Comparison, ...] = field(default=(), repr=False)
    seeds_needed: int | None = None

    def standing(self, label: str) -> NormStanding:
        """How the norm of that label stands."""
        return next(item for item in self.standings if item.label == label)


def advise(
    study: Study, results: Sequence[ArmResults], comparisons: Iterable[Comparison], rng: np.random.Generator
) -> tuple[Advice, ...]:
    """What the evidence says in each condition, in the order of the results.

    Arguments:
        study: level, confidence and margins are its.
        results: of all arms of the study.
        comparisons: of their metrics.
        rng: source of random numbers, for comparisons that the study does not make.
    """
    compared = of_conditions(comparisons)
    rates = _TriedValues(results, "training.learning_rate")
    key = int(rng.integers(2**63))
    return tuple(
        _Adviser(study, together, list(compared.get(condition, ())), rates, key).advice()
        for condition, together in by_condition(results)
    )


class _TriedValues:
    """Which values of a field were tried in conditions that are otherwise the same."""

    def __init__(self, results: Iterable[ArmResults], path: str) -> None:
        self.path = path
        self.values: dict[object, set[object]] = {}
        for item in results:
            if item.finished:
                tried = self.values.setdefault(item.condition.values_beside([path]), set())
                tried.add(item.condition.value(path))

    def count(self, condition: Condition) -> int:
        """How many values were tried."""
        return len(self.values.get(condition.values_beside([self.path]), ()))


class _Adviser:
    """The advice in one condition."""

    def __init__(
        self,
        study: Study,
        results: tuple[ArmResults, ...],
        comparisons: list[Comparison],
        rates: _TriedValues,
        key: int,
    ) -> None:
        self.study, self.results, self.comparisons, self.rates, self.key = study, results, comparisons, rates, key
        self.condition = results[0].condition
        self.ranking = rank(results, comparisons)
        self.metric, self.judged = self.ranking.metric, self.ranking.comparisons
        self.labels = {item.norm: item.label for item in results}
        self.standings = {item.norm: _standing(item, self.metric) for item in results}
        self.compared = self.ranking.compared
        self.reaches = tuple(reach for item in results if (reach := reach_of(item)))

    def advice(self) -> Advice:
        """The whole of it."""
        best = self.ranking.best
        kind = self._kind(best)
        conflicts = tuple(self._conflicts(best)) if kind in {"use", "tied"} else ()
        limits = (*self._limits(), *self._weak_wins(best if kind == "use" else ()))
        if kind == "use" and (conflicts or any(self._forbids(limit, best) for limit in limits)):
            kind = "leads"
        evidence = [item for item in self.judged if {item.a, item.b} & set(best)]
        answered = kind not in {"nothing learned", "nothing finished", "no runs"}
        return Advice(
            condition=self.condition,
            kind=kind,
            metric=self.metric,
            norms=tuple(self.labels[norm] for norm in best) if answered else (),
            standings=tuple(self.standings[item.norm] for item in self.results),
            conflicts=conflicts,
            limits=limits,
            failures=failures(self.results),
            reaches=self.reaches,
            evidence=tuple(evidence) if answered else (),
            seeds_needed=self._seeds_needed(best) if kind == "undecided" else None,
        )

    def _kind(self, best: tuple[str, ...]) -> AnswerKind:
        if not any(item.outcomes for item in self.results):
            return "no runs"
        if not any(item.finished for item in self.results):
            return "nothing finished"
        if len(self.compared) < 2:
            return "one norm"
        if self.ranking.state == "unlearned":
            return "nothing learned"
        if not best:
            return "none best"
        states: dict[State, AnswerKind] = {"better": "use", "equivalent": "tied"}
        return states.get(self.ranking.state, "undecided")

    def _conflicts(self, best: tuple[str, ...]) -> Iterator[Conflict]:
        """Where another norm is shown to be better in a metric that matters than one that the answer names."""
        known = metrics_of(self.condition)
        names = [name for name in _metrics_that_matter(self.condition) if name != self.metric.name]
        compared = [*self.comparisons, *self._further(best)]
        for name in names:
            for item in compared:
                if item.metric == name and item.better and item.worse in best:
                    yield Conflict(known[name], self.labels[item.better], self.labels[item.worse])

    def _further(self, best: tuple[str, ...]) -> list[Comparison]:
        """The named norms against all others in what matters and the study does not compare by."""
        known = metrics_of(self.condition)
        done = {item.metric for item in self.comparisons if item.is_judged}
        arms = {item.norm: item for item in self.results if item.norm in self.compared}
        pairings = [
            pairing(known[name], arms[a], arms[b], margin_of(known[name], self.study.analysis.margins))
            for name in _metrics_that_matter(self.condition)
            if name in known and name not in done
            for a, b in product(best, arms)
            if name in arms[a].metrics and name in arms[b].metrics and (a < b if b in best else True)
        ]
        return compare(pairings, options_of(self.study), np.random.default_rng(self.key)) if pairings else []

    def _weak_wins(self, best: tuple[str, ...]) -> Iterator[Limit]:
        """Wins that perhaps do not matter, and those for too few of the seeds."""
        wins = [item for item in self.judged if item.better in best]
        slight = tuple(self.labels[item.worse] for item in wins if item.worse and not item.beyond_margin)
        if slight:
            yield Limit("slight", slight)
        rare = [item for item in wins if not item.meaningful]
        if rare:
            shares = (max(item.probability_a_better, 1 - item.probability_a_better) for item in rare)
            yield Limit("not meaningful", tuple(self.labels[item.worse or ""] for item in rare), tuple(shares))

    def _forbids(self, limit: Limit, best: tuple[str, ...]) -> bool:
        """Whether a limit keeps a norm that is better than all others from being recommended."""
        if limit.kind in {"diverged", "nothing learned"}:
            return any(self.labels[norm] in limit.norms for norm in best)
        return limit.kind in {"not converged", "slight", "not meaningful"}

    def _limits(self) -> Iterator[Limit]:
        standings = [self.standings[norm] for norm in self.compared]
        falling = [item for item in standings if item.gain > CONVERGED]
        yield from _limit("not converged", falling, [item.gain for item in falling], len(standings))
        rising = [item for item in standings if item.gain < -CONVERGED]
        yield from _limit("rising", rising, [-item.gain for item in rising], len(standings))
        unlearned = tuple(reach.label for reach in self.reaches if not reach.has_learned)
        if unlearned:
            yield Limit("nothing learned", unlearned, all_norms=len(unlearned) == len(self.reaches))
        if self.rates.count(self.condition) == 1 and self.rates.path not in self.condition.tuned:
            yield Limit("one rate", figures=(self.condition.training.learning_rate,))
        for item in self.standings.values():
            counts: tuple[tuple[LimitKind, int], ...] = (
                ("diverged", item.diverged),
                ("failed", item.failed),
                ("missing", item.missing),
            )
            yield from (Limit(kind, (item.label,), (count, item.planned)) for kind, count in counts if count)

    def _seeds_needed(self, best: tuple[str, ...]) -> int | None:
        among = [item for item in self.judged if item.a in best and item.b in best and item.seeds_needed]
        return max((item.seeds_needed or 0 for item in among), default=None)


def with_tuning(advice: Iterable[Advice], plan: Plan, curves: Iterable[TuningCurve]) -> tuple[Advice, ...]:
    """The advice with what its tuning leaves open: norms that are not ranked might be better than one that leads.

    Arguments:
        advice: that on the arms of the plan.
        plan: the plan.
        curves: those of the norms of a study that tunes.
    """
    unranked: dict[Condition, list[str]] = {}
    for curve in curves:
        if plan.tuning and plan.tuning.is_settled and not curve.is_ranked:
            unranked.setdefault(curve.condition, []).append(curve.label)
    limited = []
    for item in advice:
        at_edge = unranked.get(less_tuned(item.condition, plan.study), ())
        limits = [Limit("at edge", tuple(at_edge))] if at_edge else []
        if plan.tuning and not plan.tuning.is_settled:
            limits = [Limit("untuned")]
        kind = "leads" if limits and item.kind == "use" else item.kind
        limited.append(replace(item, kind=kind, limits=(*item.limits, *limits)))
    return tuple(limited)


def _limit(kind: LimitKind, norms: list[NormStanding], figures: list[float], of: int) -> Iterator[Limit]:
    if norms:
        yield Limit(kind, tuple(item.label for item in norms), tuple(figures), len(norms) == of)


def _metrics_that_matter(condition: Condition) -> tuple[str, ...]:
    """Loss and scores on the main held-out set, as deployed models have them and as they are, and the final loss."""
    main = main_set(condition.task)
    held_out = [f"{main}_{name}" for name in ("loss", *(score.name for score in condition.task.scores))] if main else []
    final = ("final_loss",) if main else ("final_loss", "running_loss")
    return (*(f"{name}{ending}" for name in held_out for ending in ("_deployed", "")), *final)


def _standing(results: ArmResults, metric: Metric) -> NormStanding:
    (expected,) = convergence([results])
    gain = expected.final_loss if metric.name == "final_loss" else expected.held_out
    if len(deployed := results.finite(f"{main_set(results.condition.task)}_projected_gain_deployed")):
        gain = float(np.median(deployed)) if metric.name.endswith("_deployed") else gain
    return NormStanding(
        norm=results.norm,
        label=results.label,
        median=results.median(metric.name),
        planned=results.planned,
        finished=results.count("finished"),
        diverged=results.count("diverged"),
        failed=results.count("failed"),
        missing=results.missing,
        gain=gain,
    )
