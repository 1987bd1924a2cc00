"""Metrics: numbers derived from the outcomes of an arm, one value for each run.

A run that diverged has the worst value of every metric, one that failed has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from normlab.errors import InputError, nearest
from normlab.plan import Plan
from normlab.probes.catalog import quantities_of
from normlab.stats.general_metrics import FROM_LOSSES, FROM_RUNNING, FROM_THE_WAY, GENERAL, SEED_SPREAD
from normlab.stats.held_out_metrics import deployed, family, of_part, projected
from normlab.stats.learning import learned
from normlab.stats.metric import Metric, last_value
from normlab.stats.noise import NOISE_METRICS
from normlab.study.arm import Condition, TaskFacts, conditions
from normlab.tasks.data import main_part


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
        *FROM_LOSSES,
        *NOISE_METRICS,
        *(metric for part in parts for metric in of_part(part, task.scores, family(part, main))),
        *FROM_RUNNING,
        *(metric for part in parts for metric in of_part(part, task.scores, running=True)),
        *FROM_THE_WAY,
        *(metric for part in parts for metric in deployed(part, task.scores, family(part, main))),
        *(projected(part) for part in parts[:1]),
        learned(task),
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


def check_analysis(plan: Plan) -> None:
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
    for condition in conditions(plan.arms):
        primary_metric(condition, plan.study.analysis.primary)
    known = {name for condition in conditions(plan.arms) for name in metrics_of(condition)}
    for name in plan.study.analysis.margins:
        if name not in known:
            rule = "[analysis.margins] must name metrics of the study"
            raise InputError(rule, repr(name), nearest(name, sorted(known)))
