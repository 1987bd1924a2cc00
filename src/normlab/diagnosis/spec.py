"""What a rule of the doctor is, what it sees, and what is found with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from normlab.diagnosis.case import Case

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # the worst first
Need = Literal[
    "inputs", "batch_size", "loader", "optimizer", "grad_accumulation", "ddp", "fsdp", "amp", "checkpoint"
]  # named like the arguments of `normlab.doctor`


OUTPUTS = "floating-point tensors in the outputs of the model"  # for `CannotTell`


class CannotTell(Exception):
    """What a rule raises where it sees too little; the text says what it needs, as in "needs a loader that ends"."""


@dataclass(frozen=True)
class Evidence:
    """What a rule saw at one layer of this model.

    Arguments:
        where: the layer's first name in the model; empty for the model as a whole.
        message: what is wrong, in a sentence with the figures that were measured on this model.
        mend: what to do here, where that is more exact than what the rule says: a call, a flag or an edit.
        figures: the figures of the message by name, for programs.
        severity: where it differs from the rule's.
    """

    where: str
    message: str
    mend: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    severity: Severity | None = None


@dataclass(frozen=True)
class Rule:
    """One mistake with normalization that can be proven on a model.

    Arguments:
        code: such as ``"NL101"``: NL1 layers, NL2 batches, NL3 the training setup, NL4 what surrounds the training.
        name: in kebab-case, the same for ever.
        severity: of its findings. ``"error"`` is reserved for what is proven to break training or the result.
        title: what it looks for, as a phrase without a stop.
        why: why it matters, in one or two sentences.
        source: where that was reported or shown: an address, or authors, year and arXiv number.
        mend: what to do about it, in a sentence with a call, a flag or an edit.
        example: a few lines of Python that it finds, for ``--explain``.
        check: gives the evidence, if any; it may run the model and change it, all is put back afterwards. It raises
            `CannotTell` at the end where it saw too little to say that there is none.
        needs: what must be known for it to be run.
    """

    code: str
    name: str
    severity: Severity
    title: str
    why: str
    source: str
    mend: str
    example: str
    check: Callable[[Case], Iterable[Evidence]]
    needs: tuple[Need, ...] = ()

    def finding(self, evidence: Evidence, groups: int | None = None) -> Finding:
        """The finding that the evidence makes.

        Arguments:
            evidence: what was seen.
            groups: the number of groups that fits the model, for a mend that advises to swap to GroupNorm; where it is
                not given, the number is left to the swap.
        """
        severity = evidence.severity or self.severity
        mend = evidence.mend or self.mend
        if groups is not None:
            mend = mend.replace("swap(model, 'group'", f"swap(model, 'group:groups={groups}'")
        return Finding(self.code, severity, evidence.where, evidence.message, mend, dict(evidence.figures))


@dataclass(frozen=True)
class Finding:
    """A mistake that was found in a model.

    Arguments:
        code: the code of its rule, such as ``"NL101"``.
        severity: ``"error"``, ``"warning"`` or ``"note"``.
        where: the layer's name; empty for the model as a whole.
        message: what is wrong, with figures from this model.
        mend: what to do.
        figures: the figures by name.
    """

    code: str
    severity: Severity
    where: str
    message: str
    mend: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, in names that stay stable; figures that are not finite are None."""
        figures = {name: float(value) if isfinite(value) else None for name, value in self.figures.items()}
        return {**asdict(self), "figures": figures}
