"""What the terminal shows: the answer and tables, of fewer columns where it is narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape

from normlab.advice import Advice
from normlab.analysis import Evidence
from normlab.claims.finding import ClaimFinding
from normlab.figures.data import HeatMap
from normlab.report.condition import shown_metrics, time_text
from normlab.report.overview import sentences
from normlab.report.write import maps_of
from normlab.stats.arm_results import ArmResults, by_condition
from normlab.stats.comparisons import of_conditions
from normlab.stats.pairing import Comparison
from normlab.stats.tuning import by_condition as tuned_conditions
from normlab.tables import Column, fitting_table
from normlab.wording.advice import answer_sentence, failure_sentence, limit_sentences
from normlab.wording.claims import (
    claim_verdict,
    finding_heading,
    missing_sentence,
    part_figures,
    part_hypothesis,
    sources_sentence,
)
from normlab.wording.comparisons import (
    effect_text,
    interval_range,
    metric_heading,
    metric_name,
    metric_title,
    verdict_text,
)
from normlab.wording.conditions import condition_title, field_name
from normlab.wording.console import comparisons_left_out, map_signs, more_remarks, see_page, table_title, wins_meaning
from normlab.wording.figures import caption
from normlab.wording.numbers import number, spread
from normlab.wording.overview import overview_sentence
from normlab.wording.remarks import note_sentence, skipped_sentence
from normlab.wording.runs import runs_text
from normlab.wording.tuning import best_score, best_text, tuning_sentence, views_sentence

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST_CONDITIONS = 6  # that are shown one by one; beyond, there is the overview
MOST_REMARKS = 8
WINS = "wins"
_COLORS = {"supported": "green", "contradicted": "red", "equivalent": "cyan"}


def answer(evidence: Evidence, width: int) -> Iterator[RenderableType]:
    """The recommendation and tables, the claims, what failed, and what was left out.

    Arguments:
        evidence: what the study has shown.
        width: columns of the terminal.
    """
    from rich.text import Text

    if sentence := overview_sentence(evidence.overview, evidence.labels):
        yield Text(sentence, style="bold")
        maps = maps_of(evidence)
        yield from (_map_table(map_, metric_title(evidence.advice[0].metric), width) for map_ in maps)
        if maps:
            yield Text(f"  {map_signs()}", style="dim")
        together = sentences(evidence)
        yield from (Text(f"  {line}", style="dim") for line in together if len(together) <= MOST_REMARKS)
    sections = list(zip(evidence.advice, by_condition(evidence.results), strict=True))
    for advice, (_, arms) in sections[: MOST_CONDITIONS if len(sections) <= MOST_CONDITIONS else 0]:
        yield from _condition(advice, arms, evidence, width)
    if len(sections) > MOST_CONDITIONS:
        yield Text(see_page(len(sections)))
    yield from _tuned(evidence, width)
    for failure in evidence.failures:
        yield Text(failure_sentence(failure), style="red")
        yield from (Text(f"    {line}", style="dim") for line in failure.trace)
    yield from _findings(evidence.findings)
    remarks = [skipped_sentence(remark) for remark in evidence.plan.skipped]
    remarks += [note_sentence(remark) for remark in evidence.plan.notes]
    yield from (Text(line) for line in remarks[:MOST_REMARKS])
    if len(remarks) > MOST_REMARKS:
        yield Text(more_remarks(len(remarks) - MOST_REMARKS))


def _tuned(evidence: Evidence, width: int) -> Iterator[RenderableType]:
    """The best value of each norm in each condition, and whether the views agree."""
    from rich.text import Text

    yield from (Text(views_sentence(views, evidence.labels), style="bold") for views in evidence.views)
    for condition, curves in list(tuned_conditions(evidence.tuning))[:MOST_CONDITIONS]:
        columns = [
            Column("norm", [escape(curve.label) for curve in curves], fold=12),
            Column(" and ".join(map(field_name, condition.tuned)), [best_text(curve) for curve in curves], fold=12),
            Column("loss there (quartiles)", [best_score(curve) for curve in curves], rank=1, right=True),
        ]
        title = table_title("tuning", condition_title(condition, evidence.overview.paths))
        yield fitting_table(escape(title), columns, width)
        yield Text(f"  {tuning_sentence(curves, evidence.plan.study.policy)}", style="dim")


def with_comparisons(evidence: Evidence, width: int, every_metric: bool) -> Iterator[RenderableType]:
    """The answer and the comparisons of each condition, in the metric of its advice or in every one."""
    from rich.text import Text

    yield from answer(evidence, width)
    comparisons = of_conditions(evidence.comparisons)
    left_out = 0
    for advice in evidence.advice:
        of_condition = comparisons.get(advice.condition, ())
        shown = [item for item in of_condition if every_metric or item.metric == advice.metric.name]
        left_out += len(of_condition) - len(shown)
        title = table_title("comparisons", condition_title(advice.condition, evidence.overview.paths))
        yield comparisons_table(title, shown, width)
    if left_out:
        yield Text(comparisons_left_out(left_out))


def _condition(advice: Advice, arms: Sequence[ArmResults], evidence: Evidence, width: int) -> Iterator[RenderableType]:
    from rich.text import Text

    title = condition_title(advice.condition, evidence.overview.paths)
    yield Text(answer_sentence(advice, evidence.overview.paths), style="bold")
    judged = [item for item in evidence.comparisons if item.context == advice.condition]
    table = _metrics_table(title, arms, [item for item in judged if item.metric == advice.metric.name], advice, width)
    yield table
    if any(column.header == WINS for column in table.columns):
        yield Text(f"  {wins_meaning(metric_title(advice.metric))}", style="dim")
    yield from (Text(f"  {limit}", style="dim") for limit in limit_sentences(advice))


def _map_table(map_: HeatMap, metric: str, width: int) -> Table:
    x = field_name(map_.x)
    columns = []
    if map_.y:
        columns.append(Column(f"{field_name(map_.y)} ↓ {x} →", [escape(name) for name in map_.rows], fold=8))
    for index, name in enumerate(map_.columns):
        cells = [row[index] for row in map_.cells]
        columns.append(
            Column(
                escape(name if map_.y else f"{x}\n{name}"),
                ["–" if cell is None else escape(cell.text) for cell in cells],
                fold=10,
            )
        )
    title = caption("map_held", metric=metric, held=map_.title) if map_.title else caption("map", metric=metric)
    return fitting_table(escape(title), columns, width)


def _metrics_table(
    title: str, arms: Sequence[ArmResults], judged: Sequence[Comparison], advice: Advice, width: int
) -> Table:
    """Names and runs always; of the metrics as many as there is room for, that of the advice first."""
    metrics = sorted(shown_metrics(arms), key=lambda metric: metric.name != advice.metric.name)
    columns = [
        Column("norm", [escape(item.label) for item in arms], fold=12),
        Column("runs", [runs_text(item) for item in arms], right=True),
        Column(WINS, [_wins(item.norm, judged) for item in arms], rank=1, right=True),
    ]
    for rank, metric in enumerate(metrics):
        header = "\n".join(metric_heading(metric).rsplit(" ", 1))
        columns.append(Column(header, [_spread(item, metric.name) for item in arms], rank=rank, right=True))
    columns.append(Column("time of\na step", [time_text(item, arms) for item in arms], rank=len(metrics), right=True))
    return fitting_table(escape(table_title("norms", title)), columns, width)


def _spread(item: ArmResults, metric: str) -> str:
    finite = item.finite(metric)
    if not len(finite):
        return "-"
    mean, deviation = float(finite.mean()), float(finite.std(ddof=1)) if len(finite) > 1 else np.nan
    return f"{number(mean)} {spread(deviation, mean)}"


def _wins(norm: str, judged: Sequence[Comparison]) -> str:
    return f"{sum(item.better == norm for item in judged)}/{sum(norm in (item.a, item.b) for item in judged)}"


def _findings(findings: Sequence[ClaimFinding]) -> Iterator[RenderableType]:
    from rich.text import Text

    for finding in findings:
        style = _COLORS.get(finding.verdict, "yellow")
        yield Text.assemble((finding_heading(finding), f"bold {style}"), f": {finding.claim.statement}")
        for part in finding.parts:
            style = _COLORS.get(part.verdict, "yellow")
            said = f": {part_hypothesis(part)} ({part_figures(part)})"
            yield Text.assemble("  ", (claim_verdict(part.verdict), style), said)
        if finding.missing is not None:
            yield Text(f"  {missing_sentence(finding)}")
        yield from (Text(f"  {sources_sentence(sources)}") for sources in finding.sources)


def comparisons_table(title: str, items: Sequence[Comparison], width: int) -> Table:
    """The effect, which names the norms, and the verdict always; figures where there is room."""
    columns = (
        Column("metric", [metric_name(item) for item in items], fold=14),
        Column("effect", [escape(effect_text(item)) for item in items], fold=24),
        Column("interval", [interval_range(item) for item in items], rank=2, fold=14),
        Column("p (Holm)", [number(item.p_holm) for item in items], rank=1, right=True),
        Column("P(first better)", [number(item.probability_a_better) for item in items], rank=4, right=True),
        Column("verdict", [_verdict(item) for item in items], fold=14),
        Column("seeds needed", [str(item.seeds_needed or "") for item in items], rank=3, right=True),
    )
    return fitting_table(escape(title), columns, width)


def _verdict(item: Comparison) -> str:
    style = "green" if item.better else _COLORS.get(item.verdict, "")
    text = escape(verdict_text(item))
    return f"[{style}]{text}[/]" if style else text
