"""Claims with what became of them, as rows of the ledger in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, isnan

from normlab.claims.finding import ClaimFinding, PartFinding
from normlab.claims.spec import Claim
from normlab.guidance.ledger import NOT_RUN, LedgerRow, Mark
from normlab.wording.claims import claim_verdict, finding_heading, finding_sentences, part_hypothesis
from normlab.wording.hypotheses import original_text, setting_text
from normlab.wording.language import ENGLISH, Language


def ledger_row(
    claim: Claim,
    findings: Sequence[ClaimFinding],
    minutes: float | None,
    date: str,
    version: str,
    language: Language = ENGLISH,
) -> LedgerRow:
    """The row of a claim.

    Arguments:
        claim: the claim.
        findings: on it, one for each setting; none if nobody ran its study.
        minutes: that its study took.
        date: of its last run.
        version: of normlab.
        language: of the sentences.
    """
    return LedgerRow(
        id=claim.id,
        theme=claim.theme,
        statement=claim.statement,
        source=claim.source,
        original=language.paragraph(original_text(item, language) for item in claim.original),
        scale=claim.scale,
        verdict=_verdict(claim, findings),
        sentences=tuple(_sentences(claim, findings, language)),
        marks=tuple(_marks(findings, language)),
        setting=setting_text(claim, language),
        seeds=max((_seeds(part) for item in findings for part in item.parts), default=0),
        minutes=minutes,
        command=f"normlab claims run {claim.id}",
        date=date,
        version=version,
        quick=claim.quick,
    )


def _verdict(claim: Claim, findings: Sequence[ClaimFinding]) -> str:
    if findings:
        return ", ".join(dict.fromkeys(item.verdict for item in findings))
    return "not testable here" if claim.not_testable else NOT_RUN


def _sentences(claim: Claim, findings: Sequence[ClaimFinding], language: Language) -> Iterator[str]:
    if claim.not_testable and not findings:
        yield language.sentence(claim.not_testable)
    for finding in findings:
        if finding.setting:
            yield language.sentence(finding_heading(finding, language))
        yield from finding_sentences(finding, language)


def _marks(findings: Sequence[ClaimFinding], language: Language) -> Iterator[Mark]:
    """The effects of the parts in units of their margins; parts without an effect or a margin have none."""
    for part in (part for finding in findings for part in finding.parts):
        item = part.result.comparison if part.result else None
        if item is not None and item.margin > 0 and not isnan(item.difference):
            size, low, high = (value / item.margin for value in (item.difference, *item.ci))
            bounds = [bound if isfinite(bound) else None for bound in (low, high)]
            yield Mark(part_hypothesis(part, language), claim_verdict(part.verdict, language), size, *bounds)


def _seeds(part: PartFinding) -> int:
    if part.level is not None:
        return part.level.summary.n
    return part.result.comparison.pairs if part.result and part.result.comparison else 0
