"""The page about runs that somebody trained elsewhere: one HTML file that opens offline and needs no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from normlab.report.condition import comparison_row
from normlab.report.page import MARKS
from normlab.stats.metric import Metric
from normlab.stats.pairing import MEANINGS, Comparison
from normlab.wording.definitions import definitions
from normlab.wording.judging import judge_text


def render(
    title: str,
    places: Mapping[str, tuple[str, Sequence[Comparison]]],
    pooled: Sequence[str],
    remarks: Sequence[str],
    metrics: Sequence[Metric],
    pictures: Mapping[str, tuple[bytes, bytes]],
) -> str:
    """The page as text.

    Arguments:
        title: what it is about.
        places: for each condition the answer and the comparisons.
        pooled: sentences about all conditions together.
        remarks: what a reader must know.
        metrics: those that are judged or looked at.
        pictures: PNG files by name, each with a narrow form of it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("normlab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    meanings = list(definitions().items())[-len(MEANINGS) :]
    return environment.get_template("judgement.html.j2").render(
        title=title,
        places=[
            {"title": place, "sentence": sentence, "comparisons": [comparison_row(item) for item in items]}
            for place, (sentence, items) in places.items()
        ],
        pooled=pooled,
        remarks=remarks,
        marks=MARKS,
        metrics=[metric.title for metric in metrics],
        definitions=dict(meanings),
        captions={name: judge_text(f"{name}_note", **_captions(name, places)) for name in pictures},
        pictures={name: [base64.b64encode(content).decode() for content in forms] for name, forms in pictures.items()},
    )


def _captions(name: str, places: Mapping[str, tuple[str, Sequence[Comparison]]]) -> dict[str, Any]:
    if name != "differences":
        return {}
    items = [item for _, listed in places.values() for item in listed]
    return {"confidence": f"{100 * items[0].confidence:g}%" if items else ""}
