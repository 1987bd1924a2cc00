"""What the evidence says of a claim, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from normlab.claims.hypotheses import At, Hypothesis
from normlab.claims.spec import Claim
from normlab.stats.contrasts import ContrastResult
from normlab.stats.describe import Summary
from normlab.study.arm import Condition

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Level:
    """The mean of a metric of one norm.

    Arguments:
        summary: over the runs that finished.
        diverged: how many runs diverged.
        confidence: of the interval.
    """

    summary: Summary
    diverged: int
    confidence: float


@dataclass(frozen=True)
class PartFinding:
    """What the evidence says of one hypothesis in one place.

    Arguments:
        hypothesis: the hypothesis.
        at: values of the claim's swept fields where it was judged, the one that it is over left out.
        condition: one of the conditions that it was judged in.
        labels: text and label of its norms.
        verdict: of this part.
        result: of its contrast; None for a threshold.
        level: of a threshold; None where no run finished, or for another hypothesis.
    """

    hypothesis: Hypothesis
    at: At
    condition: Condition
    labels: Labels
    verdict: Verdict
    result: ContrastResult | None = field(default=None, repr=False)
    level: Level | None = None

    def label(self, norm: str) -> str:
        """The name of a norm for readers."""
        return dict(self.labels)[norm]


@dataclass(frozen=True)
class Difference:
    """A field in which a study is not what a claim is about.

    Arguments:
        path: the field.
        claimed: the values that the claim is about.
        planned: those of the study.
    """

    path: str
    claimed: tuple[Any, ...]
    planned: tuple[Any, ...]


@dataclass(frozen=True)
class Missing:
    """Why a claim cannot be tested.

    Arguments:
        kind: no run is of its ``setting``; runs at some of its swept ``values``, or of some of its ``norms``, are not
            planned; some norms have no ``ranks``, since tuning found no best value of them; the claim itself says for
            which ``reason``.
        values: the field values or norms that are missing; the labels of the norms without a best value; the reason.
        differences: of a missing setting, where runs of the same task differ from it, by the conditions that come
            closest; none where there are no runs of the task.
    """

    kind: Literal["setting", "values", "norms", "ranks", "reason"]
    values: tuple[str, ...] | tuple[At, ...] = ()
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class SourceShares:
    """Which sources the variance of a norm's late batch loss comes from.

    Arguments:
        label: of the norm.
        shares: mean share by source; empty if they could not be measured.
    """

    label: str
    shares: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ClaimFinding:
    """What the evidence says of a claim in one setting.

    Arguments:
        claim: the claim.
        verdict: supported if every part is, contradicted if any is, inconclusive otherwise; not testable here where
            something is missing.
        setting: values of the fields that the claim leaves open.
        parts: what the evidence says of each hypothesis.
        missing: why the claim cannot be tested; None if it can.
        sources: of the fluctuation that the claim asks about, if it does.
    """

    claim: Claim
    verdict: Verdict
    setting: At = ()
    parts: tuple[PartFinding, ...] = ()
    missing: Missing | None = None
    sources: tuple[SourceShares, ...] = ()
