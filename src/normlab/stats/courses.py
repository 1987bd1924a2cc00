"""The comparisons of a study that goes on until they are decided, from look to look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from normlab.stats.arm_results import ArmResults, by_condition, primary_of
from normlab.stats.comparisons import options_of, pairing
from normlab.stats.looks import Course, Design, follow
from normlab.stats.metric import margin_of
from normlab.stats.pairing import Comparison, Note, Pairing
from normlab.study.study import Study


def design_of(study: Study) -> Design:
    """How a study is looked at.

    >>> design_of(Study(name="mine", norms=["batch", "layer"], tasks=["article"], policy={"max_seeds": 100})).most
    100
    """
    options = options_of(study)
    return Design(study.policy.max_seeds, options.alpha, options.power)


def courses(study: Study, results: Sequence[ArmResults]) -> list[Course]:
    """The course of every pair of norms of each condition, in the metric by which norms are recommended.

    All conditions together are one family. A pair has come to a look when both norms have their runs of all seeds up to
    it, runs that failed included; what is stored beyond the last look changes nothing.
    """
    pairs = [
        (_pairing(study, arms, a, b), min(_reached(a), _reached(b)))
        for _, arms in by_condition(results)
        for a, b in combinations(arms, 2)
    ]
    return follow([item for item, _ in pairs], [seeds for _, seeds in pairs], design_of(study), key=(study.seed,))


def _pairing(study: Study, arms: Sequence[ArmResults], a: ArmResults, b: ArmResults) -> Pairing:
    metric = primary_of(arms)
    return pairing(metric, a, b, margin_of(metric, study.analysis.margins), "primary")


def _reached(results: ArmResults) -> int:
    """Up to which seed all runs are there."""
    return next((seed for seed in results.seeds if seed not in results.outcomes), len(results.seeds))


def with_courses(compared: Iterable[Comparison], followed: Iterable[Course], alpha: float) -> tuple[Comparison, ...]:
    """Comparisons with the p, intervals and verdicts that are valid at every look, where a course says them.

    The interval of a study that stops when it has seen enough must be wider than that of one that does not.

    Arguments:
        compared: the comparisons of the study.
        followed: their courses.
        alpha: the level of the family, over all looks.
    """
    by_pair = {_name(course.pairing): course for course in followed if course.looks}
    names = [(item, _name(item)) for item in compared]
    return tuple(_with_course(item, by_pair[name], alpha) if name in by_pair else item for item, name in names)


def _name(item: Pairing | Comparison) -> tuple[object, ...]:
    return item.metric, item.context, item.a, item.b


def _with_course(item: Comparison, course: Course, alpha: float) -> Comparison:
    look = course.looks[-1]
    why = "equivalent" if course.verdict == "equivalent" else course.state
    values = {"seeds": course.seeds, "most": course.most, **({"fixed": course.fixed} if course.fixed else {})}
    undecided = course.verdict == "undecided"
    kinds = {"too few for significance", "too few for power", "no number of seeds"}  # about a fixed number of seeds
    return replace(
        item,
        ci=(look.mean - look.bound, look.mean + look.bound),
        p_holm=look.p,
        p_beyond_holm=look.p_beyond,
        p_equivalence_holm=look.p_equivalence,
        significant="better" in course.verdict,
        level=alpha,
        verdict=course.verdict,
        seeds_needed=item.seeds_needed if undecided else None,
        seeds_needed_ci=item.seeds_needed_ci if undecided else None,
        notes=(*(note for note in item.notes if note.kind not in kinds), Note("looks", values, why)),
    )
