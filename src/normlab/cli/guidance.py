"""Answers to questions on the console; loaded when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from normlab.api import advise as ask
from normlab.cli.console import OUT, show_text, write_json
from normlab.errors import InputError
from normlab.guidance.costs import Costs, Fit, costs_of, slot_on
from normlab.guidance.next_study import next_study
from normlab.guidance.precedent import finite
from normlab.guidance.query import Guidance
from normlab.reading import read_size
from normlab.tables import Column, fitting_table
from normlab.wording.guidance import answer_text, claim_lines, flips, guidance_sentences, reasons, untested
from normlab.wording.language import ENGLISH

SCHEMA = 1
SECTIONS = ("why", "flips", "untested", "article", "claims")


def advise(
    folders: Sequence[Path],
    kind: str,
    batch_size: int | None,
    norms: Sequence[str],
    shape: str | None,
    memory: str | None,
    ledger: Path | None,
    cost: bool,
    json: bool,
) -> None:
    """Asks, measures what the norms cost, and shows the answer.

    Raises:
        InputError: something that was given cannot be used.
    """
    limit = read_size(memory) if memory else None
    if limit and not cost:
        raise InputError("memory needs costs to be measured", "--no-cost beside --memory", "Leave one of them out.")
    guidance = ask(kind, batch_size, folders=folders, norms=norms, ledger=ledger)
    if shape:
        slot_on(guidance.query, shape)
    costs = _costs(guidance, shape).within(limit) if cost and guidance.choices else None
    if json:
        write_json(_content(guidance, costs))
        return
    show_text(answer_text(guidance))
    if guidance.choices:
        OUT.print(_table(guidance, costs))
        for remark in remarks(costs):
            show_text(remark)
    for title, sentences in _sections(guidance).items():
        _show(ENGLISH.templates[f"guide.section_{title}"], sentences)
    _show(ENGLISH.templates["guide.section_next"], [next_study(guidance)])


def _costs(guidance: Guidance, shape: str | None) -> Costs:
    with OUT.status(ENGLISH.templates["guide.measuring"]):
        return costs_of(guidance, shape)


def _sections(guidance: Guidance) -> Mapping[str, Sequence[str]]:
    texts = (reasons, flips, untested, guidance_sentences, claim_lines)
    return {title: tuple(text(guidance)) for title, text in zip(SECTIONS, texts, strict=True)}


def _show(title: str, sentences: Iterable[str]) -> None:
    lines = list(sentences)
    if lines:
        show_text(f"\n{title}")
        for line in lines:
            show_text(f"  {line}")


def _table(guidance: Guidance, costs: Costs | None) -> Any:
    fits = costs.fits if costs else ()
    by_norm = {fit.norm: fit for fit in fits}
    rows = [(choice, by_norm.get(choice.norm)) for choice in guidance.choices]
    words = ENGLISH.templates
    columns = [
        Column(words["guide.norm"], [choice.label for choice, _ in rows]),
        Column(words["guide.among_best"], [f"{choice.first} of {choice.conditions}" for choice, _ in rows], right=True),
        Column(words["guide.beaten"], [f"{choice.beaten} of {choice.conditions}" for choice, _ in rows], right=True),
    ]
    if fits:
        columns += [
            Column(words["guide.time"], [fit.time if fit else "-" for _, fit in rows], rank=1, right=True),
            Column(words["guide.kept"], [fit.kept if fit else "-" for _, fit in rows], rank=2, right=True),
        ]
    if any(not fit.fits for fit in fits):
        columns.append(Column(words["guide.fits"], [_fits(fit) for _, fit in rows], rank=1))
    title = ENGLISH.fill("guide.table_cost", shape=costs.shape) if costs else words["guide.table"]
    return fitting_table(title, columns, OUT.width)


def _fits(fit: Fit | None) -> str:
    if fit is None or fit.kept_bytes is None:
        return "-"
    return ENGLISH.templates["value.yes" if fit.fits else "value.no"]


def remarks(costs: Costs | None) -> Iterator[str]:
    """Why costs should not be trusted, and why some norms have none."""
    if costs is None:
        return
    yield from costs.warnings
    for fit in costs.fits:
        if fit.skipped:
            reason = fit.skipped.rstrip(".")
            yield ENGLISH.sentence(ENGLISH.fill("guide.not_measured", norm=fit.norm, shape=costs.shape, reason=reason))


def _content(guidance: Guidance, costs: Costs | None) -> dict[str, Any]:
    sections = {title: list(sentences) for title, sentences in _sections(guidance).items()}
    data = {
        "schema": SCHEMA,
        "answer": answer_text(guidance),
        "sureness": guidance.sureness,
        "best": [choice.norm for choice in guidance.best],
        **asdict(guidance),
        "sentences": sections,
        "costs": asdict(costs) if costs else None,
        "next": next_study(guidance),
    }
    return dict(finite(data))
