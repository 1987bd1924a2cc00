"""Judging a table of runs and showing what was found; loaded when a table is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from normlab.cli.console import OUT, show_files, write_json
from normlab.errors import InputError, renamed
from normlab.judging.judge import judge as judge_runs
from normlab.judging.judgement import Judgement
from normlab.judging.runs import place_text
from normlab.report.console import MOST_REMARKS, comparisons_table
from normlab.stats.options import Options
from normlab.wording.comparisons import notes_text
from normlab.wording.console import table_title

# Notes of which the sentence or a remark says more.
REMARKED = {"missing", "too few for significance", "too few for power", "unpaired"}


def judge(
    table: Path,
    margins: Sequence[str],
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    out: Path | None,
    json: bool,
    names: Mapping[str, str],
) -> None:
    """Judges a table, shows the verdicts, and keeps them where that is asked for.

    Arguments:
        table: the file.
        margins: of the primary metric, or ``name=margin``.
        asked: the other arguments of `normlab.judge`.
        options: of the statistics, where they were given.
        out: the folder for the page and the pictures.
        json: whether the output is for programs.
        names: the flags by the arguments that remarks name.

    Raises:
        InputError: something that was given cannot be used.
    """
    judgement = judge_runs(table, margin=_margins(margins), options=Options(**options), **asked)
    written = judgement.report(out) if out is not None else ()
    if json:
        write_json(judgement.summary())
        return
    for part in _shown(judgement, OUT.width, names):
        OUT.print(part)
    if out is not None:
        show_files(written, out)


def _margins(texts: Sequence[str]) -> str | dict[str, str] | None:
    if not texts:
        return None
    named = dict(text.rpartition("=")[::2] for text in texts)
    if len(named) < len(texts) or ("" in named and len(named) > 1):
        rule = "`margin` must be one of the first metric, or NAME=SIZE for each"
        raise InputError(rule, " ".join(texts), "Try `margin=val_loss=2%`.")
    return named.get("") or named


def _shown(judgement: Judgement, width: int, names: Mapping[str, str]) -> Iterator[RenderableType]:
    answers = judgement.answers
    for place, sentence in answers.items():
        yield Text(sentence, style="bold")
        items = judgement.at(place)
        yield comparisons_table(table_title("comparisons", place_text(place) or judgement.origin), items, width)
        for item in items:
            kept = replace(item, notes=tuple(note for note in item.notes if note.kind not in REMARKED))
            if item.is_judged and (notes := notes_text(kept)):
                yield Text(f"  {item.label_a} – {item.label_b}: {notes}", style="dim")
    together = list(judgement.pooled_sentences())
    yield from (Text(sentence, style="bold") for sentence in together if len(together) <= MOST_REMARKS)
    yield from (Text(f"  {renamed(remark, names)}") for remark in judgement.remarks)
