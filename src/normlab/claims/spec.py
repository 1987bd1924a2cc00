"""What a claim is: data fixed before the runs, so that its hash can be kept with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from normlab.errors import InputError
from normlab.stats.metrics import METRICS

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]


@dataclass(frozen=True)
class Comparative:
    """ "``metric`` of ``a`` is below, above or close to that of ``b``", judged by their comparison.

    Close means within the study's margin for the metric.
    """

    metric: str
    a: str
    relation: Literal["below", "above", "close to"]
    b: str

    @property
    def norms(self) -> tuple[str, ...]:
        return (self.a, self.b)


@dataclass(frozen=True)
class Threshold:
    """ "The mean ``metric`` of ``norm`` is at most or at least ``value``", judged by its interval."""

    metric: str
    norm: str
    relation: Literal["at most", "at least"]
    value: float

    @property
    def norms(self) -> tuple[str, ...]:
        return (self.norm,)


Part = Comparative | Threshold


@dataclass(frozen=True)
class Claim:
    """A hypothesis that is fixed before the runs.

    It is supported if every part is, contradicted if any part is, and inconclusive otherwise.

    Arguments:
        id: the name in studies.
        statement: what is claimed, in a sentence.
        source: who claims it.
        task: the task it is about.
        setting: the fields of the setting it is about; others may have any value.
        parts: what must hold.
        sources_of: a norm whose sources of late fluctuation the evidence names.

    Raises:
        InputError: a part is about a metric that is not known or not compared.

    >>> claim = Claim("mine", "GN ends lower than BN", "folklore", "digits", {"batch_size": 8},
    ...               (Comparative("final_loss", "group:groups=10", "below", "batch"),))
    >>> claim.norms
    ('group:groups=10', 'batch')
    """

    id: str
    statement: str
    source: str
    task: str
    setting: Mapping[str, Any]
    parts: tuple[Part, ...]
    sources_of: str | None = None

    def __post_init__(self) -> None:
        known = {metric.name: metric.compared for metric in METRICS} | {"seed_spread": True}
        for part in self.parts:
            if part.metric not in known or (isinstance(part, Comparative) and not known[part.metric]):
                choices = ", ".join(name for name, compared in known.items() if compared)
                raise InputError(f"claim {self.id} must be about a known metric", part.metric, f"Compared: {choices}.")

    @property
    def name(self) -> str:
        """The id, as catalogues call it."""
        return self.id

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms it needs."""
        return tuple(dict.fromkeys(norm for part in self.parts for norm in part.norms))

    def as_dict(self) -> dict[str, Any]:
        """The claim as plain data, to be hashed."""
        return {**asdict(self), "setting": dict(self.setting)}


@dataclass(frozen=True)
class PartFinding:
    """What the evidence says of one part."""

    text: str
    verdict: Verdict
    figures: str


@dataclass(frozen=True)
class Finding:
    """What the evidence says of a claim.

    Arguments:
        claim: the claim.
        verdict: ``supported``, ``contradicted``, ``inconclusive`` or ``not testable here``.
        evidence: a sentence with figures: effect, interval, seeds; or why it cannot be tested.
        parts: the finding on each part.
        remark: what else belongs to the evidence, such as the sources of a fluctuation; empty if nothing does.
    """

    claim: Claim
    verdict: Verdict
    evidence: str
    parts: tuple[PartFinding, ...] = ()
    remark: str = ""
