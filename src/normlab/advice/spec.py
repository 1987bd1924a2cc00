"""What the evidence says about which norm to use, as data: the answer, what speaks against it, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from normlab.stats.metric import Metric
from normlab.stats.pairing import Comparison
from normlab.study.arm import Condition

Kind = Literal["use", "leads", "tied", "undecided", "none best", "one norm", "nothing finished", "no runs"]
LimitKind = Literal["not converged", "rising", "one rate", "diverged", "failed", "missing"]


@dataclass(frozen=True)
class Standing:
    """How one norm stands in a condition.

    Arguments:
        norm, label: its text, and its name for readers.
        median: of the metric of the advice; infinite if most runs diverged, NaN if nothing was measured.
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
class Failure:
    """One kind of end of runs that did not finish.

    Arguments:
        status: ``failed`` or ``diverged``.
        reason: why.
        trace: the last lines of the traceback of the first such run.
        norms: labels of the norms whose runs ended so.
        runs: how many.
    """

    status: Literal["failed", "diverged"]
    reason: str
    trace: str
    norms: tuple[str, ...]
    runs: int


@dataclass(frozen=True)
class Advice:
    """What the evidence says in one condition.

    Arguments:
        condition: the condition.
        kind: ``use``: one norm is better than every other, and nothing of what was tried speaks against it;
            ``leads``: one norm is better than every other, but it had a run that diverged, a metric that matters
            disagrees, or a norm had not converged; ``tied``: the norms that no other beats are equivalent;
            ``undecided``: the evidence does not decide between them; ``none best``: each norm is worse than some
            other; ``one norm``: there is nothing to compare it with; ``nothing finished``, ``no runs``: no answer.
        metric: what the norms were judged by.
        norms: labels of the norms that the answer names, the best median first.
        standings: how each norm stands, in the order of the study.
        conflicts: metrics that matter in which others are better.
        limits: what the answer does not cover.
        failures: how runs ended that did not finish.
        evidence: the comparisons of the norms that the answer names.
        seeds_needed: about how many seeds would decide what is undecided; None if nothing is, or no number would.
    """

    condition: Condition
    kind: Kind
    metric: Metric
    norms: tuple[str, ...] = ()
    standings: tuple[Standing, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    limits: tuple[Limit, ...] = ()
    failures: tuple[Failure, ...] = ()
    evidence: tuple[Comparison, ...] = field(default=(), repr=False)
    seeds_needed: int | None = None

    def standing(self, label: str) -> Standing:
        """How the norm of that label stands."""
        return next(item for item in self.standings if item.label == label)
