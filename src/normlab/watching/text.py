"""What a watch says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from normlab.diagnosis.catalog import BY_CODE
from normlab.diagnosis.spec import Finding
from normlab.diagnosis.text import by_rule, counts_text, rule_lines
from normlab.tables import plural


def summary(model: str, findings: Sequence[Finding], layers: int, steps: int, notes: Iterable[str]) -> str:
    """All findings by rule, and a line that counts them.

    >>> print(summary("ResNet", [], 20, 100, ["the model is compiled"]))
    ResNet, 20 norms, 100 steps: nothing found.
    Note: the model is compiled.
    """
    lines = [line for group in finding_lines(findings, steps) for line in (*group, "")]
    lines.append(f"{model}, {plural(layers, 'norm')}, {plural(steps, 'step')}: {counts_text(findings)}.")
    return "\n".join([*lines, *(f"Note: {note}." for note in notes)])


def finding_lines(findings: Iterable[Finding], steps: int | None = None) -> Iterator[list[str]]:
    """The lines of each rule that found something: what, where, when and what to do.

    Arguments:
        findings: what was found.
        steps: how many there were, to say in which of them; without, they are new.
    """
    for code, group in by_rule(findings):
        first = min(finding.figures["first_step"] for finding in group)
        last = max(finding.figures["last_step"] for finding in group)
        once = steps is None or first == last
        when = f"  seen at step {first:.0f}" if once else f"  seen from step {first:.0f} to {last:.0f}"
        heading, *rest = rule_lines(BY_CODE[code], group)
        yield [heading, when, *rest]
