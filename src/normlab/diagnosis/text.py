"""Findings as text: by rule, the worst first, the same ones folded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

from normlab.diagnosis.catalog import BY_CODE
from normlab.diagnosis.spec import SEVERITIES, Finding, Need, Rule
from normlab.tables import plural

SHOWN = 3  # findings of one rule that are written out
NAMED = 4  # further layers that are named
_SWAP = re.compile(r"""(normlab\.swap\(model, "[^"]*", where=)("[^"]*")\)""")


def diagnosis_text(
    model: str,
    norms: int,
    findings: Sequence[Finding],
    known: int,
    unchecked: Mapping[str, Sequence[str]],
    crashed: Mapping[str, str],
) -> str:
    """The findings by rule, and a line that counts them; the arguments are the fields of `Diagnosis`."""
    lines: list[str] = []
    for code, group in by_rule(findings):
        lines += [*rule_lines(BY_CODE[code], group), ""]
    lines += [f"{code} could not be checked, its rule failed: {error}" for code, error in crashed.items()]
    lines.append(f"{model}, {plural(norms, 'norm')}: {counts_text(findings, known)}.")
    if unchecked:
        lines.append(f"Not checked: {', '.join(_needs(unchecked))}.")
    return "\n".join(lines)


def rule_lines(rule: Rule, findings: Sequence[Finding]) -> Iterator[str]:
    """The findings of one rule: what it is, where and how it shows, what to do."""
    worst = next(severity for severity in SEVERITIES if any(finding.severity == severity for finding in findings))
    yield f"{rule.code} {worst}: {rule.title}"
    for finding in findings[:SHOWN]:
        yield f"  {finding.where or 'the model'}: {finding.message}"
    if rest := findings[SHOWN:]:
        names = ", ".join(finding.where for finding in rest[:NAMED])
        yield f"  and {plural(len(rest), 'more layer')}: {names}{', ...' if len(rest) > NAMED else ''}"
    yield from (f"  -> {mend}" for mend in _mends([finding.mend for finding in findings]))


def _mends(mends: Iterable[str]) -> Iterator[str]:
    """What to do about several findings: one swap for all the layers that are to become the same norm.

    >>> list(_mends(f'normlab.swap(model, "group:groups=8", where="{name}")' for name in ("a.bn", "b.bn")))
    ['normlab.swap(model, "group:groups=8", where=["a.bn", "b.bn"])']
    """
    different = list(dict.fromkeys(mends))
    swaps = [swap for mend in different if (swap := _SWAP.fullmatch(mend))]
    if len(swaps) < len(different):
        yield f"{different[0]}{' (and so on)' if len(different) > 1 else ''}"
        return
    for start in dict.fromkeys(swap[1] for swap in swaps):
        layers = [swap[2] for swap in swaps if swap[1] == start]
        listed = f"[{', '.join(layers)}]"
        yield f"{start}{layers[0] if len(layers) == 1 else listed})"


def explanation(rule: Rule) -> str:
    """All that is known of a rule: why, source, an example and what to do."""
    example = "\n".join(f"    {line}" for line in rule.example.strip().splitlines())
    needs = f"\nNeeds: {', '.join(f'`{need}`' for need in rule.needs)}." if rule.needs else ""
    return (
        f"{rule.code} {rule.name} ({rule.severity}): {rule.title}\n\n{rule.why}\nSource: {rule.source}{needs}\n\n"
        f"For example:\n{example}\n\n-> {rule.mend}"
    )


def by_rule(findings: Iterable[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """The findings of each rule, by its code, in the order in which the rules come first."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.code, []).append(finding)
    yield from groups.items()


def counts_text(findings: Iterable[Finding], known: int = 0) -> str:
    """How many findings there are of each severity, the worst first.

    Arguments:
        findings: what was found.
        known: how many more a baseline knows.

    >>> counts_text([Finding("NL101", "error", "a", "", ""), Finding("NL302", "note", "b", "", "")], known=2)
    '1 error, 1 note (2 more in the baseline)'
    """
    counts = Counter(finding.severity for finding in findings)
    said = [plural(counts[severity], severity) for severity in SEVERITIES if counts[severity]]
    text = ", ".join(said) or "nothing found"
    return f"{text} ({known} more in the baseline)" if known else text


def _needs(unchecked: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The rules by what they need."""
    groups: dict[str, list[str]] = {}
    for code, needs in unchecked.items():
        said = " and ".join(f"`{need}`" if need in get_args(Need) else need for need in needs)
        groups.setdefault(said, []).append(code)
    for needs, codes in groups.items():
        yield f"{', '.join(codes)} ({'needs' if len(codes) == 1 else 'need'} {needs})"
