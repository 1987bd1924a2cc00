"""What the doctor found in a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from normlab.diagnosis.catalog import RULES
from normlab.diagnosis.sarif import sarif_log
from normlab.diagnosis.spec import SEVERITIES, Finding, Severity
from normlab.diagnosis.text import diagnosis_text
from normlab.tables import as_html


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found in a model.

    Arguments:
        model: the class of the model.
        norms: how many normalization layers it has.
        findings: what was found, the worst first; without those that a baseline knows.
        known: how many findings the baseline knows.
        checked: the codes of the rules that were run to the end.
        unchecked: the codes of the rules that could not be run, or not to the end, each with what it needs: names of
            arguments, or what else in words.
        crashed: the codes of the rules that ended in an error, each with the error.
        source: the file and the line of the model's class, or else of what makes the model, where the user has them.
    """

    model: str
    norms: int
    findings: tuple[Finding, ...]
    known: int = 0
    checked: tuple[str, ...] = ()
    unchecked: Mapping[str, tuple[str, ...]] | None = None
    crashed: Mapping[str, str] | None = None
    source: tuple[str, int] | None = None

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def worst(self) -> Severity | None:
        """The worst severity that was found; None where nothing was."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of what was found, each once, sorted."""
        return tuple(sorted({finding.code for finding in self.findings}))

    def of(self, code: str) -> tuple[Finding, ...]:
        """The findings of one rule."""
        return tuple(finding for finding in self.findings if finding.code == code)

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of a severity and the worse ones."""
        counted = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return tuple(finding for finding in self.findings if finding.severity in counted)

    def text(self) -> str:
        """The findings by rule, the same ones folded, and a line that counts them."""
        return diagnosis_text(
            self.model, self.norms, self.findings, self.known, self.unchecked or {}, self.crashed or {}
        )

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return as_html([self.text()])

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, in names that stay stable."""
        return {
            "schema": 1,
            "model": self.model,
            "norms": self.norms,
            "worst": self.worst,
            "findings": [finding.as_dict() for finding in self.findings],
            "known": self.known,
            "checked": list(self.checked),
            "unchecked": {code: list(needs) for code, needs in (self.unchecked or {}).items()},
            "crashed": dict(self.crashed or {}),
        }

    def sarif(self) -> dict[str, Any]:
        """The same as a SARIF 2.1.0 log, the form that code hosts and editors read."""
        return sarif_log(RULES, self.findings, self.crashed or {}, self.source)
