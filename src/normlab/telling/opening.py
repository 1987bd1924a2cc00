"""What a study is about to train: how much, by which engines, for how long, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from normlab.job import Job
from normlab.reading.objects import unmarked
from normlab.recipe import Recipe
from normlab.stats.support import support
from normlab.wording.remarks import skipped_sentence
from normlab.wording.support import growth_sentence, support_sentence
from normlab.wording.tuning import plan_sentence

MOST_REMARKS = 6  # of each kind that are said before training; the report has all of them


def opening(job: Job, workers: int, folder: Path | None) -> Iterator[str]:
    """What is about to be trained, by which engines, for how long, and what is not."""
    plan = job.plan
    counts = [
        _count(len({arm.norm for arm in plan.arms}), "norm"),
        _count(len({arm.condition for arm in plan.arms}), "condition"),
        _count(max(map(len, job.wanted.arm_seeds)), "seed"),
    ]
    there = f", of which {job.total - job.missing} are there" if job.missing < job.total else ""
    runs = f"{_count(job.total, 'run')} ({', '.join(counts)}){there}"
    beside = workers if any(_is_beside(job, recipe) for recipe in job.choices) else 1
    yield f"{plan.study.name}: {runs}; {beside} at a time" + (f", into {folder}" if folder else "")
    if plan.study.policy.until_decided:
        yield growth_sentence(plan.study.policy)
    elif allowed := support_sentence(support(plan)):
        yield allowed
    if plan.study.policy.tune:
        yield plan_sentence(plan.study.policy)
    if job.missing and job.seconds is not None:
        yield f"About {duration(job.seconds)} for {_count(job.missing, 'run')}."
    yield from _shortened(list(_engines(job)))
    yield from _shortened([skipped_sentence(remark) for remark in plan.skipped])
    for arm, count in job.outdated.items():
        what = unmarked(f"{arm.norm} on {arm.condition.task.reference}")
        yield (
            f"{_count(count, 'run')} of {what} were made with other code of yours ({arm.source[:7]}); they are kept "
            "apart, and the present code is trained anew."
        )


def _is_beside(job: Job, recipe: Recipe) -> bool:
    """Whether runs of a recipe are trained beside others."""
    parallel = job.choices[recipe].engine.parallel
    return parallel == "threads" or (parallel == "processes" and recipe.portable and job.processes > 1)


def _shortened(lines: list[str]) -> Iterator[str]:
    yield from lines[:MOST_REMARKS]
    if len(lines) > MOST_REMARKS:
        yield f"... and {len(lines) - MOST_REMARKS} more like these."


def _engines(job: Job) -> Iterator[str]:
    """A line for each engine and kind of reason, with the norms that it trains."""
    norms: dict[tuple[str, str], dict[str, None]] = {}
    for recipe, choice in job.choices.items():
        timed = "us per step" in choice.reason
        reason = "the fastest in a short trial on this machine" if timed else choice.reason
        norms.setdefault((choice.engine.name, reason), {})[unmarked(recipe.arm.norm)] = None
    for (engine, reason), trained in norms.items():
        yield f"Engine {engine} for {', '.join(trained)}: {reason}."


def duration(seconds: float) -> str:
    """Seconds as a reader says them.

    >>> duration(0.2), duration(42), duration(600), duration(9000)
    ('a second', '42 s', '10 min', '2.5 h')
    """
    if seconds < 1.5:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
