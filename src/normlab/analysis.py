"""The evidence of a study, gathered once: everything that a report, a summary or a program says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from normlab.advice import Advice, advise, with_tuning
from normlab.claims.finding import ClaimFinding
from normlab.claims.judge import judge
from normlab.claims.spec import Claim
from normlab.plan import Plan
from normlab.seeding import stream
from normlab.stats.arm_results import ArmResults, arm_results
from normlab.stats.comparisons import comparisons, options_of
from normlab.stats.courses import courses, with_courses
from normlab.stats.looks import Course
from normlab.stats.metric import Metric, at_loss
from normlab.stats.overview import EqualSteps, Overview, equal_steps, overview
from normlab.stats.pairing import Comparison
from normlab.stats.runs import Convergence, Failure, convergence, environments, failures
from normlab.stats.tuning import TuningCurve, tuning_curves
from normlab.stats.views import Views, views_of
from normlab.study.outcome import Outcome


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a study has shown.

    Arguments:
        plan: what was to be trained, what was skipped and why.
        results: the outcomes of each arm with their metrics.
        comparisons: all pairs of norms of each condition on every compared metric.
        findings: the verdicts on the claims.
        advice: the recommendation for each condition.
        overview: where which norm is better, equivalent or undecided, and where that flips.
        equal_steps: the arms of sweeps after the same number of steps, where at equal epochs the steps differ.
        convergence: how much further training would bring each arm.
        failures: the failed runs by kind of reason.
        tuning: the curve of each norm in each condition of a study that tunes.
        views: how the norms stand at the common value, at each one's own best, and at the library's default.
        environments: the different environments that runs were trained in, with the number of runs.
        courses: the comparisons of a study that goes on until they are decided, from look to look.
    """

    plan: Plan
    results: tuple[ArmResults, ...]
    comparisons: tuple[Comparison, ...]
    findings: tuple[ClaimFinding, ...]
    advice: tuple[Advice, ...]
    overview: Overview
    equal_steps: tuple[EqualSteps, ...]
    convergence: tuple[Convergence, ...]
    failures: tuple[Failure, ...]
    environments: tuple[tuple[Mapping[str, str], int], ...]
    tuning: tuple[TuningCurve, ...] = ()
    courses: tuple[Course, ...] = ()
    views: tuple[Views, ...] = ()

    @property
    def labels(self) -> Mapping[str, str]:
        """The names of the norms for readers, by their text; of norms that are tuned and not ranked too."""
        tuned = {curve.norm: curve.label for curve in self.tuning}
        return tuned | {item.norm: item.label for item in self.results}


def gather(
    plan: Plan, outcomes: Iterable[Outcome], claims: Iterable[Claim] = (), extra: Iterable[Metric] = ()
) -> Evidence:
    """All statistics of a study from its outcomes: any of them, finished, diverged or failed, or none at all.

    Arguments:
        plan: what was to be trained.
        outcomes: what is stored of it.
        claims: those of the study, as `normlab.claims.catalog.find_claims` gave them before the runs.
        extra: metrics of one's own.
    """
    study, outcomes, tested = plan.study, tuple(outcomes), tuple(claims)
    asked = (at_loss(hypothesis.metric) for claim in tested for hypothesis in claim.hypotheses)
    metrics = (*extra, *filter(None, asked))
    results = arm_results(plan, outcomes, metrics)
    curves = tuning_curves(plan.tuning.candidates, study, outcomes) if plan.tuning else ()
    followed = tuple(courses(study, results)) if study.policy.until_decided else ()
    compared = comparisons(study, results, stream(study.seed, "statistics"))
    compared = with_courses(compared, followed, study.analysis.alpha)
    settled = curves if plan.tuning and plan.tuning.is_settled else ()
    at_common = _at_common(plan, outcomes, metrics) if tested else ()
    return Evidence(
        plan=plan,
        results=results,
        comparisons=compared,
        findings=judge(tested, study, (*results, *at_common), stream(study.seed, "claims"), settled),
        advice=with_tuning(advise(study, results, compared, stream(study.seed, "advice")), plan, curves),
        overview=overview(study, results, compared, options_of(study), stream(study.seed, "overview")),
        equal_steps=equal_steps(study, results),
        convergence=convergence(results),
        failures=failures(results),
        environments=environments(results),
        tuning=curves,
        courses=followed,
        views=views_of(plan, outcomes, results, compared, stream(study.seed, "views")),
    )


def _at_common(plan: Plan, outcomes: Iterable[Outcome], extra: Iterable[Metric]) -> tuple[ArmResults, ...]:
    """The arms of a study that tunes at the common value, which claims about a fixed value are about."""
    if plan.tuning is None or plan.tuning.common == plan.arms:
        return ()
    return arm_results(replace(plan, arms=plan.tuning.common, counts=()), outcomes, extra)
