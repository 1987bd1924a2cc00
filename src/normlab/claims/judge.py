"""From the results of a study's arms to findings on its claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from normlab.claims.finding import ClaimFinding, Difference, Labels, Level, Missing, PartFinding, SourceShares, Verdict
from normlab.claims.hypotheses import At, Hypothesis, Threshold, Weighed, places, terms
from normlab.claims.spec import Claim
from normlab.probes.measure import Measure
from normlab.stats.arm_results import ArmResults
from normlab.stats.comparisons import options_of
from normlab.stats.contrasts import ContrastResult, Term, evaluate, has_values
from normlab.stats.noise import SOURCES
from normlab.stats.tuning import TuningCurve
from normlab.study.arm import TUNED, Condition, frozen_options
from normlab.study.study import Study
from normlab.training import Training


def judge(
    claims: Iterable[Claim],
    study: Study,
    results: Sequence[ArmResults],
    rng: np.random.Generator,
    curves: Iterable[TuningCurve] = (),
) -> tuple[ClaimFinding, ...]:
    """The findings on claims: one for each setting that matches, or one that says why a claim cannot be tested.

    The contrasts of a claim, which were fixed before the runs, are a family of their own in each setting: what else
    a study compares makes no verdict on it harder to reach.

    Arguments:
        claims: as `normlab.claims.catalog.find_claims` gave them.
        study: level, confidence and margins are its.
        results: of all arms.
        rng: source of all random numbers; each finding gets the same ones, whatever the others are.
        curves: of what the study tunes, once its tuning is settled: norms without a best value have no results.
    """
    key = int(rng.integers(2**63))
    unranked = [curve for curve in curves if not curve.is_ranked]
    return tuple(finding for claim in claims for finding in _Judge(claim, study, key, unranked).findings(results))


class _Judge:
    """The findings on one claim."""

    def __init__(self, claim: Claim, study: Study, key: int, unranked: Iterable[TuningCurve]) -> None:
        self.claim, self.study, self.key = claim, study, key
        self.options = options_of(study)
        self.claim_study = claim.to_study()
        self.sweep = {path: frozen_options({path: values})[0][1] for path, values in self.claim_study.sweep.items()}
        self.unranked = [curve for curve in unranked if self._matches(curve.condition)]

    def findings(self, results: Sequence[ArmResults]) -> Iterator[ClaimFinding]:
        """One for each setting."""
        if self.claim.not_testable:
            yield ClaimFinding(self.claim, "not testable here", missing=Missing("reason", (self.claim.not_testable,)))
            return
        settings: dict[Any, list[ArmResults]] = {}
        for item in results:
            if self._matches(item.condition):
                setting = self._setting(item.condition)
                settings.setdefault((setting, item.condition.study_seed), []).append(item)
        if not settings:
            missing = _unranked(self.unranked) if self.unranked else self._missing_setting(results)
            yield ClaimFinding(self.claim, "not testable here", missing=missing)
        for (setting, _), arms in settings.items():
            several = len(settings) > 1
            yield self._finding(setting if several else (), arms)

    def _matches(self, condition: Condition) -> bool:
        """Whether a condition is one that the claim is about, at any of its swept values."""
        return condition.task.reference in self.claim_study.tasks and not self._differing(condition)

    def _differing(self, condition: Condition) -> tuple[str, ...]:
        """The fields in which a condition of the claim's task is none that the claim is about."""
        values = {**condition.values(), **_tail(condition.measure)}
        allowed = self._allowed(condition)
        return tuple(path for path in allowed if path not in values or values[path] not in allowed[path])

    def _allowed(self, condition: Condition) -> dict[str, tuple[Any, ...]]:
        """The values that the claim is about of every field that it does not leave open."""
        pinned = {**self._fields(condition), **_tail(self.claim_study.measure)}
        every = {**{path: (value,) for path, value in pinned.items()}, **self.sweep}
        return {path: values for path, values in every.items() if path not in self.claim.free}

    def _missing_setting(self, results: Sequence[ArmResults]) -> Missing:
        """Where the conditions differ that come closest to what the claim is about."""
        of_task = [item.condition for item in results if item.condition.task.reference in self.claim_study.tasks]
        if not of_task:
            return Missing("setting")
        first = min(of_task, key=lambda condition: len(self._differing(condition)))
        paths, allowed = self._differing(first), self._allowed(first)
        alike = [condition for condition in of_task if condition.task == first.task]
        closest = [condition for condition in alike if self._differing(condition) == paths]
        planned = [{**condition.values(), **_tail(condition.measure)} for condition in closest]
        if any(path not in values for path in paths for values in planned):
            return Missing("setting")
        differences = (
            Difference(path, allowed[path], tuple(dict.fromkeys(values[path] for values in planned))) for path in paths
        )
        return Missing("setting", differences=tuple(differences))

    def _fields(self, condition: Condition) -> dict[str, Any]:
        """The values of all fields that the claim is about, by path."""
        training = Training(**dict(self.claim_study.training))
        model = self.claim.models.get(condition.task.reference, self.claim_study.model)
        return {
            "fixed_data": self.claim_study.fixed_data,
            **{f"training.{name}": value for name, value in dict(training).items()},
            **dict.fromkeys(self.claim_study.policy.tune, TUNED),
            **{f"model.{name}": value for name, value in frozen_options(model)},
        }

    def _setting(self, condition: Condition) -> At:
        values = condition.values()
        return tuple((path, values[path]) for path in self.claim.free if path in values)

    def _finding(self, setting: At, arms: list[ArmResults]) -> ClaimFinding:
        parts = [(hypothesis, at) for hypothesis in self.claim.hypotheses for at in places(hypothesis, self.sweep)]
        if missing := self._missing(parts, arms):
            return ClaimFinding(self.claim, "not testable here", setting, missing=missing)
        contrasts = [
            (hypothesis.contrast(at, self.sweep), self._of_task(hypothesis, arms))
            for hypothesis, at in parts
            if not isinstance(hypothesis, Threshold)
        ]
        rng = np.random.default_rng(self.key)
        answers = iter(evaluate(contrasts, self.study.analysis.margins, self.options, rng))
        judged = tuple(
            self._threshold(hypothesis, at, arms)
            if isinstance(hypothesis, Threshold)
            else self._part(hypothesis, at, arms, next(answers))
            for hypothesis, at in parts
        )
        verdict = _combined([part.verdict for part in judged])
        return ClaimFinding(self.claim, verdict, setting, judged, sources=tuple(self._sources(arms)))

    def _missing(self, parts: list[tuple[Hypothesis, At]], arms: list[ArmResults]) -> Missing | None:
        """What the claim needs and has no results; what was tuned without a best value, then values, then norms."""
        setting = self._setting(arms[0].condition)
        unranked = [curve for curve in self.unranked if self._setting(curve.condition) == setting]
        lost: dict[TuningCurve, None] = {}
        absent_values: dict[At, None] = {}
        absent_norms: dict[str, None] = {}
        for hypothesis, at in parts:
            of_task = self._of_task(hypothesis, arms)
            for term in terms(hypothesis, at, self.sweep):
                here = [item for item in of_task if has_values(item.condition, dict(term.at))]
                if without_best := [curve for curve in unranked if self._is_of(curve, hypothesis, term)]:
                    lost |= dict.fromkeys(without_best)
                elif not here:
                    task = (("task", self._task(hypothesis)),) if len(self.claim_study.tasks) > 1 else ()
                    absent_values[(*task, *term.at)] = None
                elif term.norm not in {item.norm for item in here}:
                    absent_norms[term.norm] = None
        if lost:
            return _unranked(lost)
        if absent_values:
            return Missing("values", tuple(absent_values))
        return Missing("norms", tuple(absent_norms)) if absent_norms else None

    def _is_of(self, curve: TuningCurve, hypothesis: Hypothesis, term: Term) -> bool:
        """Whether it is the curve of a term of a hypothesis."""
        condition = curve.condition
        here = condition.task.reference == self._task(hypothesis) and has_values(condition, dict(term.at))
        return here and curve.norm == term.norm

    def _task(self, hypothesis: Hypothesis) -> str:
        return hypothesis.task or self.claim_study.tasks[0]

    def _of_task(self, hypothesis: Hypothesis, arms: list[ArmResults]) -> list[ArmResults]:
        task = self._task(hypothesis)
        return [item for item in arms if item.condition.task.reference == task]

    def _part(self, hypothesis: Weighed, at: At, arms: list[ArmResults], result: ContrastResult) -> PartFinding:
        of_task = self._of_task(hypothesis, arms)
        condition = next(item.condition for item in of_task if has_values(item.condition, dict(at)))
        return PartFinding(hypothesis, at, condition, _labels(of_task), _verdict(hypothesis.relation, result), result)

    def _threshold(self, hypothesis: Threshold, at: At, arms: list[ArmResults]) -> PartFinding:
        of_task = self._of_task(hypothesis, arms)
        results = next(
            item for item in of_task if item.norm == hypothesis.norm and has_values(item.condition, dict(at))
        )
        level: Level | None = None
        verdict: Verdict = "inconclusive"
        if len(results.finite(hypothesis.metric)):
            summary = results.summaries(self.options)[hypothesis.metric]
            level = Level(summary, results.count("diverged"), self.options.confidence)
            verdict = _level_verdict(hypothesis, level)
        return PartFinding(hypothesis, at, results.condition, _labels(of_task), verdict, level=level)

    def _sources(self, arms: list[ArmResults]) -> Iterator[SourceShares]:
        for item in arms:
            if item.norm == self.claim.sources_of:
                values = {source: item.finite(f"share_{source}") for source in SOURCES}
                means = ((source, float(shares.mean())) for source, shares in values.items() if len(shares))
                yield SourceShares(item.label, tuple(means))


def _unranked(curves: Iterable[TuningCurve]) -> Missing:
    return Missing("ranks", tuple(dict.fromkeys(curve.label for curve in curves)))


def _tail(measure: Measure) -> dict[str, Any]:
    """How the tail is measured, by path; which other probes run beside does not matter."""
    return {"measure.tail": measure.tail, "measure.noise_steps": measure.noise_steps}


def _labels(arms: Iterable[ArmResults]) -> Labels:
    labels: Mapping[str, str] = {item.norm: item.label for item in arms}
    return tuple(labels.items())


def _combined(verdicts: Sequence[Verdict]) -> Verdict:
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if all(verdict == "supported" for verdict in verdicts) else "inconclusive"


def _verdict(relation: str, result: ContrastResult) -> Verdict:
    """Of a relation between two sides: the sign of the contrast, or that it is smaller than the margin."""
    if relation in {"close to", "stays"}:
        if result.is_equivalent:
            return "supported"
        return "contradicted" if result.beyond_margin else "inconclusive"
    if not result.sign:
        return "contradicted" if result.is_equivalent else "inconclusive"
    if relation == "changes":
        return "supported"
    expected = -1 if relation in {"below", "falls"} else 1
    return "supported" if result.sign == expected else "contradicted"


def _level_verdict(hypothesis: Threshold, level: Level) -> Verdict:
    """Of a level: whether its interval lies wholly between the bounds, wholly outside, or across one."""
    if level.diverged:
        return "contradicted"
    (low, high), (least, most) = level.summary.ci, hypothesis.bounds
    if least <= low and high <= most:
        return "supported"
    return "contradicted" if high < least or most < low else "inconclusive"
