"""What a notebook shows of results: the comparisons in the primary metric, and the answer below them."""

from __future__ import annotations

from collections.abc import Iterable

from normlab.stats.pairing import Comparison
from normlab.tables import as_html
from normlab.wording.comparisons import effect_text, interval_range, metric_name, verdict_text
from normlab.wording.numbers import number

HEADER = ("metric", "effect", "interval", "p (Holm)", "verdict")


def notebook_view(answer: str, comparisons: Iterable[Comparison]) -> str:
    """The comparisons in the primary metric as a table of HTML, with the answer below; of many conditions it alone.

    Arguments:
        answer: what they say together.
        comparisons: of any metrics.

    >>> notebook_view("batch is best", [])
    '<pre>batch is best</pre>'
    """
    primary = [item for item in comparisons if item.family == "primary"]
    rows = [
        (metric_name(item), effect_text(item), interval_range(item), number(item.p_holm), verdict_text(item))
        for item in primary
    ]
    return as_html([answer], HEADER if len({item.context for item in primary}) == 1 else (), rows)
