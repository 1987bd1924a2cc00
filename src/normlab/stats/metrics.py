"""Metrics: numbers derived from the outcomes of an arm, one value for each run.

A run that diverged has the worst value of every metric, one that failed has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from normlab.errors import InputError, nearest
from normlab.plan import Plan
from normlab.stats import formulas
from normlab.stats.metric import Metric
from normlab.study.arm import Condition, ScoreFacts, TaskFacts, conditions

LOSS_MARGIN = 0.1  # a factor of exp(0.1), about 10%


_NOISE = ("noise_canonical", "noise_population", "noise_training")
_SOURCE_TITLES = {"iterate": "the weights", "sampling": "sampling", "batch_statistics": "batch statistics"}
_TAIL = "over the last part of training (its tail), after a straight line was taken out"

_FROM_LOSSES: tuple[Metric, ...] = (
    Metric(
        "final_loss",
        "final loss",
        "canonical loss at the end: whole training set, evaluation mode, population statistics",
        ("canonical_loss",),
        formulas.last("canonical_loss"),
        margin=LOSS_MARGIN,
        family="secondary",
    ),
    Metric(
        "final_batch_loss",
        "final batch loss",
        "mean loss of the training batches of the last epoch, with all the noise of its batches",
        ("training_loss",),
        formulas.final_batch_loss,
        margin=LOSS_MARGIN,
    ),
    Metric(
        "early_log_loss",
        "early batch loss",
        "mean logarithm of the loss of the training batches over the first quarter of the steps",
        ("training_loss",),
        formulas.early_log_loss,
        margin=0.05,
        scale="log",
        family="secondary",
    ),
    Metric(
        "early_log_canonical_loss",
        "early loss",
        "mean logarithm of the canonical loss over the first quarter of the steps: the lower, the faster the loss "
        "falls at first",
        ("canonical_loss",),
        formulas.early_log_canonical_loss,
        margin=0.05,
        scale="log",
        family="secondary",
        points=2,
    ),
    Metric(
        "early_drop",
        "loss left after a quarter",
        "canonical loss after a quarter of the steps as a share of that before the first step: 0.2 says that four "
        "fifths of the loss are gone by then; the lower, the quicker the drop",
        ("canonical_loss",),
        formulas.early_drop,
        margin=LOSS_MARGIN,
        points=2,
    ),
)

_FROM_NOISE: tuple[Metric, ...] = (
    Metric(
        "fluctuation_total",
        "late fluctuation",
        f"standard deviation of the batch loss {_TAIL}",
        _NOISE,
        formulas.fluctuation("total"),
        margin=0.2,
        family="exploratory",
        points=3,
    ),
    Metric(
        "fluctuation_iterate",
        "fluctuation of the weights",
        f"standard deviation of the canonical loss {_TAIL}: what the movement of the weights themselves adds",
        _NOISE,
        formulas.fluctuation("iterate"),
        margin=0.2,
        family="exploratory",
        points=3,
    ),
    Metric(
        "fluctuation_sampling",
        "fluctuation of sampling",
        f"standard deviation of population-mode batch loss minus canonical loss {_TAIL}: what the choice of the "
        "samples of a batch adds",
        _NOISE,
        formulas.fluctuation("sampling"),
        margin=0.2,
        family="exploratory",
        points=3,
    ),
    Metric(
        "fluctuation_batch_statistics",
        "fluctuation of batch statistics",
        f"standard deviation of training-mode minus population-mode batch loss {_TAIL}: what normalizing by the "
        "statistics of the batch adds (and dropout, where there is any)",
        _NOISE,
        formulas.fluctuation("batch_statistics"),
        margin=0.002,
        scale="difference",
        family="exploratory",
        points=3,
        resolution=1e-6,
    ),
    *(
        Metric(
            f"share_{source}",
            f"share of {_SOURCE_TITLES[source]}",
            f"share of the variance of the late batch loss that comes from {_SOURCE_TITLES[source]}: its covariance "
            "with the whole over the variance of the whole; the three shares add to 1",
            _NOISE,
            formulas.share(source),
            margin=0.1,
            scale="difference",
            family="exploratory",
            points=3,
        )
        for source in formulas.SOURCES
    ),
    *(
        Metric(
            f"covariance_{first}_{second}",
            f"covariance of {_SOURCE_TITLES[first]} and {_SOURCE_TITLES[second]}",
            "covariance of two sources of late fluctuation, whose variances alone do not add to that of the whole",
            _NOISE,
            formulas.covariance(first, second),
            scale="difference",
            points=3,
        )
        for first, second in (
            ("iterate", "sampling"),
            ("iterate", "batch_statistics"),
            ("sampling", "batch_statistics"),
        )
    ),
)

_FROM_RUNNING: tuple[Metric, ...] = (
    Metric(
        "running_loss",
        "final loss under running statistics",
        "the final loss as a deployed model gives it: with the running statistics that training left in place of "
        "population statistics",
        ("running_loss",),
        formulas.last("running_loss"),
        margin=LOSS_MARGIN,
    ),
    Metric(
        "running_gap",
        "gap of running statistics",
        "logarithm of the final loss under running statistics over that under population statistics: 0 if the "
        "running statistics are as good, 0.1 if they cost about 10% of loss",
        ("canonical_loss", "running_loss"),
        formulas.log_ratio("running_loss", "canonical_loss"),
        margin=LOSS_MARGIN,
        scale="log",
    ),
)

_FROM_THE_WAY: tuple[Metric, ...] = (
    Metric(
        "gradient_norm",
        "late gradient norm",
        "median Euclidean norm of the gradient over the tail",
        ("gradient_norm",),
        formulas.tail_gradient,
        margin=0.2,
    ),
    Metric(
        "roughness",
        "roughness",
        "how far the log canonical loss travelled, looked at once per epoch, over how far it got: 1 if it never "
        "rises from one epoch to the next, 2 if half of the way was up and down again",
        ("canonical_loss",),
        formulas.roughness,
        margin=LOSS_MARGIN,
        points=2,
    ),
    Metric(
        "projected_gain",
        "projected gain",
        "share by which the final loss would still fall if the steps were doubled, by a power law through the tail; "
        "below 1% counts as converged",
        ("canonical_loss",),
        formulas.projected_gain("canonical_loss"),
        margin=0.01,
        scale="difference",
        points=2,
    ),
)

SEED_SPREAD = Metric(
    "seed_spread",
    "spread of the final loss over seeds",
    "standard deviation over seeds of the logarithm of the final loss: how much a result depends on the seed",
    ("canonical_loss",),
    formulas.last("canonical_loss"),
    margin=0.2,
    family="exploratory",
    spread_of="final_loss",
)


def main_set(task: TaskFacts) -> str | None:
    """The held-out set by which norms are compared: ``test`` if there is one, else the last; None without any.

    >>> main_set(TaskFacts("mine", "Mine", 100, ("test", "validation")))
    'test'
    """
    return "test" if "test" in task.held_out else next(reversed(task.held_out), None)


@lru_cache(maxsize=256)
def _metrics_of_task(task: TaskFacts) -> Mapping[str, Metric]:
    main = main_set(task)
    parts = sorted(task.held_out, key=lambda part: part != main)
    metrics = (
        *_FROM_LOSSES,
        *_FROM_NOISE,
        *(metric for part in parts for metric in _of_part(part, task.scores, family="secondary" if part == main else "")),
        *_FROM_RUNNING,
        *(metric for part in parts for metric in _of_part(part, task.scores, running=True)),
        *_FROM_THE_WAY,
        *(_projected(part) for part in parts[:1]),
        SEED_SPREAD,
    )
    return {metric.name: metric for metric in metrics}


def metrics_of(condition: Condition, extra: Iterable[Metric] = ()) -> Mapping[str, Metric]:
    """Every metric that runs in a condition may have, by name: of losses, and of the task's held-out sets and scores.

    Arguments:
        condition: whose task says which sets are held out and what scores there are.
        extra: metrics of one's own.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Study
    >>> plan = resolve(Study(name="mine", norms=["batch"], tasks=["digits"]))
    >>> metrics = metrics_of(plan.arms[0].condition)
    >>> [name for name in metrics if name.startswith("validation")]
    ['validation_loss', 'validation_accuracy', 'validation_loss_running', 'validation_accuracy_running']
    >>> metrics["test_accuracy"].margin, metrics["test_accuracy"].family, metrics["validation_accuracy"].family
    (0.005, 'secondary', '')
    """
    return {**_metrics_of_task(condition.task), **{metric.name: metric for metric in extra}}


def _of_part(
    part: str, scores: Sequence[ScoreFacts], *, family: Literal["secondary", ""] = "", running: bool = False
) -> Iterator[Metric]:
    """The loss and the scores on a held-out set, under population or running statistics."""
    ending = "_running" if running else ""
    title = " under running statistics" if running else ""
    statistics = "the running statistics that training left" if running else "population statistics"
    series = f"{part}_loss{ending}"
    yield Metric(
        series,
        f"{part} loss{title}",
        f"loss at the end on the held-out {part} set, with {statistics}",
        (series,),
        formulas.last(series),
        margin=LOSS_MARGIN,
        family=family,
    )
    for score in scores:
        series = f"{part}_{score.name}{ending}"
        better = "higher" if score.higher_is_better else "lower"
        yield Metric(
            series,
            f"{part} {score.title}{title}",
            f"{score.title} at the end on the held-out {part} set, with {statistics}; {better} is better",
            (series,),
            formulas.last(series),
            margin=score.margin,
            higher_is_better=score.higher_is_better,
            scale=score.scale,
            family=family,
            unit=score.unit,
        )


def _projected(part: str) -> Metric:
    return Metric(
        f"{part}_projected_gain",
        f"projected gain of the {part} loss",
        f"share by which the {part} loss would still fall if the steps were doubled, by a power law through the tail; "
        "negative where it rises",
        (f"{part}_loss",),
        formulas.projected_gain(f"{part}_loss"),
        margin=0.01,
        scale="difference",
        points=2,
    )


GENERAL: Mapping[str, Metric] = {
    metric.name: metric for metric in (*_FROM_LOSSES, *_FROM_NOISE, *_FROM_RUNNING, *_FROM_THE_WAY, SEED_SPREAD)
}
"""The metrics that any task has."""


def find_metric(name: str, condition: Condition | None = None) -> Metric:
    """The metric of that name.

    Arguments:
        name: the name.
        condition: whose held-out sets and scores are known too; without one, only what any task has.

    Raises:
        InputError: there is none.

    >>> find_metric("roughness").higher_is_better
    False
    """
    known = GENERAL if condition is None else metrics_of(condition)
    if name not in known:
        raise InputError("a metric must be one that is known", repr(name), nearest(name, known))
    return known[name]


def primary_metric(condition: Condition, chosen: str = "", extra: Iterable[Metric] = ()) -> Metric:
    """The metric by which norms are recommended.

    Arguments:
        condition: the condition.
        chosen: the study's choice, its ``analysis.primary``; empty for the loss on the main held-out set as a deployed
            model has it, or the final loss without a held-out set.
        extra: metrics of one's own.

    Raises:
        InputError: the condition has no metric of that name.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Study
    >>> condition = resolve(Study(name="mine", norms=["batch"], tasks=["digits"])).arms[0].condition
    >>> primary_metric(condition, "test_accuracy").title
    'test accuracy'
    """
    known = metrics_of(condition, extra)
    main = main_set(condition.task)
    usual = (f"{main}_loss_deployed", f"{main}_loss", "final_loss")
    name = chosen or next(name for name in usual if name in known)
    if name not in known or known[name].spread_of:
        named = [known_name for known_name, metric in known.items() if not metric.spread_of]
        rule = f"analysis.primary must name a metric that runs on {condition.task.reference} have"
        raise InputError(rule, repr(name), nearest(name, named))
    return known[name]


def check_analysis(plan: Plan, extra: Iterable[Metric] = ()) -> None:
    """Looks at the names of the primary metric and of the margins of a plan's study, before anything is trained.

    Raises:
        InputError: one of them is no metric that the plan's tasks have.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Analysis, Study
    >>> study = Study(name="mine", norms=["batch"], tasks=["article"], analysis=Analysis(margins={"test_los": 0.1}))
    >>> try:
    ...     check_analysis(resolve(study))
    ... except InputError as error:
    ...     print(error.given, error.advice)
    'test_los' Did you mean 'test_loss'?
    """
    extra_metrics = tuple(extra)
    for condition in conditions(plan.arms):
        primary_metric(condition, plan.study.analysis.primary, extra_metrics)
    known = {name for condition in conditions(plan.arms) for name in metrics_of(condition, extra_metrics)}
    for name in plan.study.analysis.margins:
        if name not in known:
            rule = "[analysis.margins] must name metrics of the study"
            raise InputError(rule, repr(name), nearest(name, sorted(known)))
