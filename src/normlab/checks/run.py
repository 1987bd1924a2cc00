"""Checks a norm: every check on every layout, one row each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from normlab.checks.catalog import CHECKS
from normlab.checks.spec import Check, CheckReport, Observation, Result, Row
from normlab.checks.subject import Subject, told
from normlab.checks.subjects import subjects
from normlab.errors import InputError
from normlab.norms.slot import Layout
from normlab.norms.spec import Norm, NormSpec

_WORST: tuple[Result, ...] = ("does not hold", "not claimed", "holds", "not applicable", "not checked")


def check_norm(
    norm: str | NormSpec, *, compile: bool = False, layout: str | None = None, channels: int | None = None
) -> CheckReport:
    """Checks which claims of a norm hold, on every layout that it takes.

    What a norm prints goes to standard error meanwhile.

    Arguments:
        norm: a spec, a norm's text such as ``group:groups=3``, or ``package.module:object`` of a NormSpec, of a
            module's class, or of a function of the number of channels that makes a module. A bare module claims
            nothing, so what is found of its axes is said, not judged.
        compile: whether torch.compile is checked too, which takes a while.
        layout: the only layout to check, such as ``"NCHW"``; all that the norm takes by default.
        channels: the only number of channels; by default two that the norm takes.

    Raises:
        InputError: there is no such norm, its entry says what cannot be meant, it can be built for no layout, or its
            layer does not run.

    >>> report = check_norm("layer")
    >>> report.holds, report.row("axes").result
    (True, 'holds')
    """
    with redirect_stdout(sys.stderr):
        checked = subjects(norm, layout, channels)
        rows = tuple(_row(check, checked, compile) for check in CHECKS)
    text = norm.name if isinstance(norm, NormSpec) else norm
    return CheckReport(text, f"{checked[0].norm.spec.title} on {_counted(checked)}", rows)


def _counted(checked: Sequence[Subject]) -> str:
    """The layouts, each with its numbers of channels."""
    counts: dict[Layout, list[str]] = {}
    for subject in checked:
        counts.setdefault(subject.layout, []).append(str(subject.slot.channels))
    return ", ".join(f"{layout} with {' and '.join(numbers)} channels" for layout, numbers in counts.items())


def _row(check: Check, checked: Sequence[Subject], slow: bool) -> Row:
    if check.slow and not slow:
        return Row(check.name, check.meaning, "not checked", "takes a while; ask for it by `compile`")
    seen = [(subject, _observed(check, subject)) for subject in (checked[-1:] if check.slow else checked)]
    result = next(result for result in _WORST if any(observation.result == result for _, observation in seen))
    deciding = [(subject, observation) for subject, observation in seen if observation.result == result]
    text, reason = _merged(deciding, [subject for subject, _ in seen]), _reason(check, result, checked[0].norm)
    if reason and result == "does not hold":
        result = "not claimed"
    return Row(check.name, check.meaning, result, f"{text}; its entry says: {reason}" if reason else text)


def _reason(check: Check, result: Result, norm: Norm) -> str | None:
    """Why the norm does not promise what was not found, if its entry says so."""
    if result == "not claimed":
        return norm.spec.exceptions.get(check.exception)
    if result != "does not hold":
        return None
    try:
        return norm.spec.exemptions(norm.options).get(check.name)
    except (Exception, SystemExit) as error:
        rule = f"exemptions of {norm} must give the names of checks, each with a reason"
        raise InputError(rule, told(error), "Mend exemptions.") from error


def _observed(check: Check, subject: Subject) -> Observation:
    """A check that ends in an error, or would end the process, has seen that the norm fails."""
    if subject.restless and check.needs != "nothing":
        return Observation("not checked", "the same input gives another output each time, so nothing can be compared")
    if subject.draws and check.needs == "no random numbers":
        return Observation("not applicable", "it draws random numbers, and other ones here")
    try:
        return check.run(subject)
    except (Exception, SystemExit) as error:
        return Observation("does not hold", _plain(told(error)))


def _plain(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")


def _merged(deciding: Sequence[tuple[Subject, Observation]], checked: Sequence[Subject]) -> str:
    """Each sentence once, with the layouts and numbers of channels that it is about and the largest figure."""
    by_text: dict[str, list[tuple[Subject, Observation]]] = {}
    for subject, observation in deciding:
        by_text.setdefault(observation.text, []).append((subject, observation))
    sentences = []
    for text, group in by_text.items():
        figures = [observation.figure for _, observation in group if observation.figure is not None]
        sentence = text.format(figure=max(figures)) if figures else text
        where = _places([subject for subject, _ in group], checked)
        sentences.append(sentence if len(group) == len(checked) else f"{where}: {sentence}")
    return "; ".join(sentences)


def _places(some: Sequence[Subject], checked: Sequence[Subject]) -> str:
    """Layouts, with the number of channels where it is not so for all that were checked on the layout."""
    names = []
    for subject in some:
        alike = all(other in some for other in checked if other.layout == subject.layout)
        names.append(subject.layout if alike else f"{subject.layout} with {subject.slot.channels} channels")
    return ", ".join(dict.fromkeys(names))
