"""What was tuned, and whether its views agree, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from normlab.stats.tuning import TuningCurve, score_set
from normlab.stats.views import View, Views
from normlab.study.policy import Policy
from normlab.wording.conditions import field_name, field_text, value_text
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import number


def plan_sentence(policy: Policy, language: Language = ENGLISH) -> str:
    """What will be tuned, before anything is trained.

    >>> plan_sentence(Policy(tune={"learning_rate": []})).partition(";")[0]
    'Tunes the learning rate for each norm on 5 seeds of their own'
    """
    names = language.enumerated([field_name(path) for path in policy.tune])
    seeds = language.counted("count.seed", policy.tuning_seeds)
    more = language.counted("tuning.extensions", policy.extensions)
    return language.sentence(language.fill("tuning.plan", names=names, seeds=seeds, more=more))


def tuning_sentence(curves: Sequence[TuningCurve], policy: Policy, language: Language = ENGLISH) -> str:
    """How one condition was tuned: the grid, the seeds, and the data that decided."""
    first = curves[0]
    axes = zip(first.paths, zip(*first.points, strict=True), strict=True)
    ranges = [
        language.fill("tuning.range", name=field_name(path), low=value_text(min(axis)), high=value_text(max(axis)))
        for path, axis in axes
    ]
    return language.sentence(
        language.fill(
            "tuning.budget",
            points=language.counted("tuning.points", len(first.points)),
            ranges=language.enumerated(ranges),
            seeds=language.counted("count.seed", policy.tuning_seeds),
            data=score_set(first.condition.task),
        )
    )


def best_text(curve: TuningCurve, language: Language = ENGLISH) -> str:
    """The best value of a norm, and what keeps it from being ranked."""
    if curve.best is None:
        return language.fill("tuning.unfinished")
    point = zip(curve.paths, curve.points[curve.best], strict=True)
    single = len(curve.paths) == 1
    text = language.enumerated([value_text(value) if single else field_text(path, value) for path, value in point])
    if not math.isfinite(curve.medians[curve.best]):
        return language.fill("tuning.none")
    return text if curve.is_ranked else language.fill("tuning.edge", value=text)


def best_score(curve: TuningCurve, language: Language = ENGLISH) -> str:
    """The median loss at the best value, with the quartiles over tuning seeds."""
    if curve.best is None or not math.isfinite(curve.medians[curve.best]):
        return language.fill("tuning.no_score")
    low, high = (number(math.exp(value)) for value in curve.bands[curve.best])
    return language.fill("tuning.score", loss=number(math.exp(curve.medians[curve.best])), low=low, high=high)


def views_sentence(views: Views, labels: Mapping[str, str], language: Language = ENGLISH) -> str:
    """What each view says, and whether they agree.

    Arguments:
        views: those of one condition.
        labels: the names of the norms for readers, by text.
        language: of the sentence.
    """
    has_usual = any(view.name == "usual" for view in views.views)
    answers = (_answer(view, views.condition.tuned, has_usual, labels, language) for view in views.views)
    text = language.templates["list.clauses"].join(answers)
    return language.sentence(language.fill(f"views.{views.agreement}", answers=text))


def view_name(view: View, tuned: Iterable[str], has_usual: bool, language: Language = ENGLISH) -> str:
    """Where a view looks, for the middle of a sentence."""
    if view.name == "own":
        return language.fill("views.own", names=language.enumerated([field_name(path) for path in tuned]))
    values = language.enumerated([field_text(path, value) for path, value in view.values.items()])
    return language.fill(f"views.{view.name}" if has_usual else "views.common_usual", values=values)


def _answer(view: View, tuned: Iterable[str], has_usual: bool, labels: Mapping[str, str], language: Language) -> str:
    place = view_name(view, tuned, has_usual, language)
    standing = view.standing
    if not standing.best:
        return language.fill("views.nothing", place=place)
    norms = language.enumerated([labels[norm] for norm in standing.best])
    return language.fill(f"views.{standing.state}", norms=norms, place=place)
