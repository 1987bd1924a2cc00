"""Checks a norm: every check on every layout, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from normlab.checks.catalog import CHECKS
from normlab.checks.spec import Check, Finding, Report, Result, Row
from normlab.checks.subject import Subject, first_line, subjects
from normlab.norms.spec import NormSpec
from normlab.records import Layout

_WORST: tuple[Result, ...] = ("does not hold", "not claimed", "holds", "not applicable", "not checked")


def check_norm(norm: str | NormSpec, *, compile: bool = False) -> Report:
    """Checks which claims of a norm hold, on every layout that it takes.

    Arguments:
        norm: a spec, a norm's text such as ``group:groups=3``, or ``package.module:object`` of a NormSpec, of a
            module's class, or of a function of the number of channels that makes a module. A bare module claims
            nothing, so what is found of its axes is said, not judged.
        compile: whether torch.compile is checked too, which takes a while.

    Raises:
        InputError: there is no such norm, or it can be built for no layout.

    >>> report = check_norm("layer")
    >>> report.holds, report.row("axes").result
    (True, 'holds')
    """
    chosen = subjects(norm)
    rows = tuple(_row(check, chosen, compile) for check in CHECKS)
    layouts = ", ".join(f"{subject.layout} with {subject.slot.channels} channels" for subject in chosen)
    text = norm.name if isinstance(norm, NormSpec) else norm
    return Report(text, f"{chosen[0].norm.spec.title} on {layouts}", rows)


def _row(check: Check, chosen: Sequence[Subject], slow: bool) -> Row:
    if check.slow and not slow:
        return Row(check.name, check.meaning, "not checked", "takes a while; ask for it by --compile")
    findings = {subject.layout: _checked(check, subject) for subject in (chosen[-1:] if check.slow else chosen)}
    result = next(result for result in _WORST if any(one.result == result for one in findings.values()))
    deciding = {layout: one for layout, one in findings.items() if one.result == result}
    return Row(check.name, check.meaning, result, _merged(deciding, len(findings)))


def _checked(check: Check, subject: Subject) -> Finding:
    """A check that ends in an error has found that the norm fails."""
    try:
        return check.run(subject)
    except Exception as error:
        return Finding("does not hold", f"{type(error).__name__}: {_plain(first_line(error))}")


def _plain(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")


def _merged(findings: Mapping[Layout, Finding], layouts: int) -> str:
    """Each sentence once, with the layouts that it is about and the largest figure."""
    sentences: dict[str, list[Layout]] = {}
    for layout, one in findings.items():
        sentences.setdefault(one.found, []).append(layout)
    said = []
    for text, where in sentences.items():
        figures = [figure for layout in where if (figure := findings[layout].figure) is not None]
        sentence = text.format(figure=max(figures)) if figures else text
        said.append(sentence if len(where) == layouts else f"{', '.join(where)}: {sentence}")
    return "; ".join(said)
