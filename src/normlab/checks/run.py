"""Checks a norm: every check on every layout, one row each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout

from normlab.checks.catalog import CHECKS
from normlab.checks.chosen import subjects
from normlab.checks.spec import Check, Finding, Report, Result, Row
from normlab.checks.subject import Subject, told
from normlab.errors import InputError
from normlab.norms.spec import Norm, NormSpec
from normlab.records import Layout

_WORST: tuple[Result, ...] = ("does not hold", "not claimed", "holds", "not applicable", "not checked")


def check_norm(
    norm: str | NormSpec, *, compile: bool = False, layout: str | None = None, channels: int | None = None
) -> Report:
    """Checks which claims of a norm hold, on every layout that it takes.

    What a norm prints goes to standard error meanwhile.

    Arguments:
        norm: a spec, a norm's text such as ``group:groups=3``, or ``package.module:object`` of a NormSpec, of a
            module's class, or of a function of the number of channels that makes a module. A bare module claims
            nothing, so what is found of its axes is said, not judged.
        compile: whether torch.compile is checked too, which takes a while.
        layout: the only layout to check, such as ``"NCHW"``; all that the norm takes by default.
        channels: the number of channels; by default the first of some that the norm takes.

    Raises:
        InputError: there is no such norm, its entry says what cannot be meant, it can be built for no layout, or its
            layer does not run.

    >>> report = check_norm("layer")
    >>> report.holds, report.row("axes").result
    (True, 'holds')
    """
    with redirect_stdout(sys.stderr):
        chosen = subjects(norm, layout, channels)
        rows = tuple(_row(check, chosen, compile) for check in CHECKS)
    layouts = ", ".join(f"{subject.layout} with {subject.slot.channels} channels" for subject in chosen)
    text = norm.name if isinstance(norm, NormSpec) else norm
    return Report(text, f"{chosen[0].norm.spec.title} on {layouts}", rows)


def _row(check: Check, chosen: Sequence[Subject], slow: bool) -> Row:
    if check.slow and not slow:
        return Row(check.name, check.meaning, "not checked", "takes a while; ask for it by `compile`")
    findings = {subject.layout: _checked(check, subject) for subject in (chosen[-1:] if check.slow else chosen)}
    result = next(result for result in _WORST if any(one.result == result for one in findings.values()))
    deciding = {layout: one for layout, one in findings.items() if one.result == result}
    found, reason = _merged(deciding, len(findings)), _reason(check, result, chosen[0].norm)
    if reason and result == "does not hold":
        result = "not claimed"
    return Row(check.name, check.meaning, result, f"{found}; its entry says: {reason}" if reason else found)


def _reason(check: Check, result: Result, norm: Norm) -> str | None:
    """Why the norm does not promise what was not found, if its entry says so."""
    if result == "not claimed":
        return norm.spec.exceptions.get(check.exception)
    if result != "does not hold":
        return None
    try:
        return norm.spec.takes_back(norm.options).get(check.name)
    except (Exception, SystemExit) as error:
        rule = f"takes_back of {norm} must give the names of checks, each with a reason"
        raise InputError(rule, told(error), "Mend takes_back.") from error


def _checked(check: Check, subject: Subject) -> Finding:
    """A check that ends in an error, or would end the process, has found that the norm fails."""
    if subject.restless and check.needs != "nothing":
        return Finding("not checked", "the same input gives another output each time, so nothing can be compared")
    if subject.draws and check.needs == "no random numbers":
        return Finding("not applicable", "it draws random numbers, and other ones here")
    try:
        return check.run(subject)
    except (Exception, SystemExit) as error:
        return Finding("does not hold", _plain(told(error)))


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
