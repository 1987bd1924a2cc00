"""Metrics: numbers derived from the outcomes of an arm, one value for each run.

A run that diverged has the worst value of every metric, one that failed has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from normlab.errors import InputError, nearest
from normlab.plan import Plan
from normlab.probes.catalog import quantities_of
from normlab.stats import formulas
from normlab.stats.metric import Metric, last_value
from normlab.stats.noise import NOISE_METRICS
from normlab.study.arm import Condition, ScoreFacts, TaskFacts, conditions
from normlab.tasks.data import main_part

LOSS_MARGIN = 0.1  # a factor of exp(0.1), about 10%
CLEAR = 10  # margins of a score, by which a run that learned anything beats one that learned nothing


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
        f"how far the log canonical loss travelled, looked at after each of {formulas.PARTS} equal parts of training, "
        "over how far it got: 1 if it never rises between two looks, 2 if half of the way was up and down again",
        ("canonical_loss",),
        formulas.roughness,
        margin=LOSS_MARGIN,
        points=formulas.PARTS + 1,
    ),
    Metric(
        "batch_roughness",
        "roughness of the batch loss",
        f"how far the log batch loss travelled, averaged over each of {formulas.PARTS} equal parts of training, over "
        "how far it got: what an eye sees of the curve of training losses",
        ("training_loss",),
        formulas.batch_roughness,
        margin=LOSS_MARGIN,
        points=formulas.PARTS,
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
    return main_part(task.held_out)


@lru_cache(maxsize=256)
def _metrics_of_task(task: TaskFacts, probes: tuple[str, ...]) -> Mapping[str, Metric]:
    main = main_set(task)
    parts = sorted(task.held_out, key=lambda part: part != main)
    metrics = (
        *_FROM_LOSSES,
        *NOISE_METRICS,
        *(metric for part in parts for metric in _of_part(part, task.scores, _family(part, main))),
        *_FROM_RUNNING,
        *(metric for part in parts for metric in _of_part(part, task.scores, running=True)),
        *_FROM_THE_WAY,
        *(metric for part in parts for metric in _deployed(part, task.scores, _family(part, main))),
        *(_projected(part) for part in parts[:1]),
        _learned(task),
        *(last_value(quantity.name) for quantity in quantities_of(probes, main)),
        SEED_SPREAD,
    )
    return {metric.name: metric for metric in metrics}


def metrics_of(condition: Condition, extra: Iterable[Metric] = ()) -> Mapping[str, Metric]:
    """Every metric that runs in a condition may have, by name: of losses, held-out sets, scores and built-in probes.

    Arguments:
        condition: whose task says which sets are held out and what scores there are.
        extra: metrics of one's own.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Study
    >>> plan = resolve(Study(name="mine", norms=["batch"], tasks=["digits"]))
    >>> metrics = metrics_of(plan.arms[0].condition)
    >>> [name for name in metrics if name.startswith("validation_loss")]
    ['validation_loss', 'validation_loss_running', 'validation_loss_deployed']
    >>> metrics["test_accuracy"].margin, metrics["test_accuracy"].family, metrics["validation_accuracy"].family
    (0.005, 'secondary', '')
    """
    return {**_metrics_of_task(condition.task, condition.measure.probes), **{metric.name: metric for metric in extra}}


_OfPart = Literal["secondary", ""]


def _family(part: str, main: str | None) -> _OfPart:
    """Norms are compared on the main held-out set."""
    return "secondary" if part == main else ""


def _of_part(
    part: str, scores: Sequence[ScoreFacts], family: _OfPart = "", *, running: bool = False
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


def _deployed(part: str, scores: Sequence[ScoreFacts], family: _OfPart) -> Iterator[Metric]:
    """The loss and the scores on a held-out set as a deployed model has them, and what more steps would gain."""
    how = (
        "as a deployed model has it: with the running statistics that training left where the norm keeps them, else as "
        "it is"
    )
    yield Metric(
        f"{part}_loss_deployed",
        f"deployed {part} loss",
        f"loss at the end on the held-out {part} set {how}",
        (f"{part}_loss",),
        formulas.last(f"{part}_loss", deployed=True),
        margin=LOSS_MARGIN,
        family=family,
    )
    for score in scores:
        better = "higher" if score.higher_is_better else "lower"
        yield Metric(
            f"{part}_{score.name}_deployed",
            f"deployed {part} {score.title}",
            f"{score.title} at the end on the held-out {part} set {how}; {better} is better",
            (f"{part}_{score.name}",),
            formulas.last(f"{part}_{score.name}", deployed=True),
            margin=score.margin,
            higher_is_better=score.higher_is_better,
            scale=score.scale,
            family=family,
            unit=score.unit,
        )
    yield Metric(
        f"{part}_projected_gain_deployed",
        f"projected gain of the deployed {part} loss",
        f"share by which the {part} loss {how} would still fall if the steps were doubled, by a power law through the "
        "tail; negative where it rises",
        (f"{part}_loss",),
        formulas.projected_gain(f"{part}_loss", deployed=True),
        margin=0.01,
        scale="difference",
        points=2,
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


def _learned(task: TaskFacts | None = None) -> Metric:
    """Whether a run learned anything: by its own initial loss and, where the task has one, by its baseline."""
    meaning = (
        "whether a run trained at all: 1 if it finished with a canonical loss at least 10% below its initial one and, "
        "where the task says what learning nothing gives on held-out data, clearly better than that; else 0, as for a "
        "run that diverged"
    )
    return Metric(
        "learned",
        "learned",
        meaning,
        ("canonical_loss",),
        formulas.learned(LOSS_MARGIN) if task is None else _learned_formula(task),
        margin=0.05,
        higher_is_better=True,
        scale="difference",
        points=2,
        if_diverged=0.0,
    )


def _learned_formula(task: TaskFacts) -> formulas.Formula:
    main = main_set(task)
    if main is None or task.baseline is None:
        return formulas.learned(LOSS_MARGIN)
    name, baseline = task.baseline
    score = next((score for score in task.scores if score.name == name), None)
    higher = score is not None and score.higher_is_better
    clearly = LOSS_MARGIN if score is None else CLEAR * score.margin
    sign = 1 if higher else -1
    is_difference = score is not None and score.scale == "difference"
    bound = baseline + sign * clearly if is_difference else baseline * math.exp(sign * clearly)
    return formulas.learned(LOSS_MARGIN, f"{main}_{name}", bound, higher_is_better=higher)


GENERAL: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (*_FROM_LOSSES, *NOISE_METRICS, *_FROM_RUNNING, *_FROM_THE_WAY, _learned(), SEED_SPREAD)
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
