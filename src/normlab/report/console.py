"""What the terminal shows: the answer and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from normlab.claims.spec import Finding
from normlab.norms.catalog import label
from normlab.report.evidence import Evidence, context_title
from normlab.stats.family import TITLES, Context, by_context
from normlab.stats.groups import Group
from normlab.stats.metrics import Values
from normlab.stats.paired import Comparison
from normlab.stats.wording import effect_text, interval_range, number

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_COLUMNS = ("final_loss", "test_loss", "test_accuracy", "early_log_canonical_loss", "fluctuation_total")
_HEADERS = ("final loss", "test loss", "test\naccuracy", "log of\nearly loss", "late\nfluctuation")
_COLORS = {"supported": "green", "contradicted": "red", "A better": "green", "B better": "green", "equivalent": "cyan"}


def answer(evidence: Evidence) -> Iterator[RenderableType]:
    """The recommendation and one table for each task and setting, the claims, and what was left out."""
    from rich.text import Text

    study = evidence.plan.study
    for advice, (context, groups) in zip(evidence.advice, by_context(evidence.groups), strict=True):
        if len(evidence.advice) > 1:
            yield Text(f"{context_title(study, context)}:")
        yield Text(advice.sentence, style="bold")
        yield _metrics_table(context_title(study, context), groups, evidence.comparisons, context, advice.metric)
        yield from (Text(f"  {limit}", style="dim") for limit in advice.limits)
    yield from _findings(evidence.findings)
    for remark in evidence.plan.skipped:
        yield Text(f"Skipped {remark.what}: {remark.reason}.")
    for remark in evidence.plan.notes:
        yield Text(f"Note on {remark.what}: {remark.reason}.")


def everything(evidence: Evidence) -> Iterator[RenderableType]:
    """The answer and all comparisons."""
    yield from answer(evidence)
    for context, _ in by_context(evidence.groups):
        items = [item for item in evidence.comparisons if item.context == context]
        yield _comparisons_table(context_title(evidence.plan.study, context), items)


def _metrics_table(
    title: str, groups: Iterable[Group], comparisons: Iterable[Comparison], context: Context, metric: str
) -> Table:
    from rich.table import Table

    columns = [
        (name, header)
        for name, header in zip(_COLUMNS, _HEADERS, strict=True)
        if any(name in group.metrics for group in groups)
    ]
    table = Table(title=f"{title} (mean ± standard deviation over seeds)", title_justify="left")
    table.add_column("norm")
    table.add_column("runs", justify="right")
    for _, header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column(f"wins on\n{TITLES[metric]}", justify="right")
    judged = [item for item in comparisons if item.context == context and item.metric == metric]
    for group in groups:
        cells = [_spread(group.metrics.get(name)) for name, _ in columns]
        table.add_row(label(group.norm), _runs(group), *cells, _wins(group.norm, judged))
    return table


def _spread(values: Values | None) -> str:
    if values is None:
        return "-"
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "-"
    deviation = finite.std(ddof=1) if len(finite) > 1 else float("nan")
    return f"{number(float(finite.mean()))} ± {number(float(deviation))}"


def _runs(group: Group) -> str:
    parts = [str(group.count("finished"))]
    parts += [f"{count} {status}" for status in ("diverged", "failed") if (count := group.count(status))]
    return ", ".join(parts)


def _wins(norm: str, judged: list[Comparison]) -> str:
    wins = sum((item.verdict, norm) in (("A better", item.a), ("B better", item.b)) for item in judged)
    return f"{wins} of {sum(norm in (item.a, item.b) for item in judged)}"


def _findings(findings: Iterable[Finding]) -> Iterator[RenderableType]:
    from rich.text import Text

    for finding in findings:
        style = _COLORS.get(finding.verdict, "yellow")
        yield Text.assemble((f"{finding.claim.id} {finding.verdict}", f"bold {style}"), f": {finding.claim.statement}")
        for part in finding.parts:
            style = _COLORS.get(part.verdict, "yellow")
            yield Text.assemble("  ", (part.verdict, style), f": {part.text} ({part.figures})")
        if finding.remark:
            yield Text(f"  {finding.remark}")


def _comparisons_table(title: str, items: list[Comparison]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{title}: all comparisons", title_justify="left")
    for header in ("metric", "effect", "interval", "p (Holm)", "P(A better)", "verdict", "seeds needed"):
        table.add_column(header)
    for item in items:
        table.add_row(
            TITLES[item.metric],
            effect_text(item),
            interval_range(item),
            number(item.p_holm),
            number(item.probability_a_better),
            Text(_verdict(item), style=_COLORS.get(item.verdict, "")),
            str(item.seeds_needed or ""),
        )
    return table


def _verdict(item: Comparison) -> str:
    return {"A better": f"{item.a} better", "B better": f"{item.b} better"}.get(item.verdict, item.verdict)
