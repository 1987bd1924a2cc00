"""The metrics of a held-out set: its loss and scores, as they are and as a deployed model has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from normlab.stats import formulas
from normlab.stats.metric import LOSS_MARGIN, Metric
from normlab.study.arm import ScoreFacts

Family = Literal["secondary", ""]


def family(part: str, main: str | None) -> Family:
    """Norms are compared on the main held-out set.

    >>> family("test", "test"), family("validation", "test")
    ('secondary', '')
    """
    return "secondary" if part == main else ""


def of_part(part: str, scores: Sequence[ScoreFacts], family: Family = "", *, running: bool = False) -> Iterator[Metric]:
    """The loss and the scores on a held-out set, under population or running statistics.

    >>> [metric.name for metric in of_part("test", (), running=True)]
    ['test_loss_running']
    """
    ending = "_running" if running else ""
    title = " under running statistics" if running else ""
    statistics = "the running statistics that training left" if running else "population statistics"
    series = f"{part}_loss{ending}"
    yield Metric(
        series,
        f"{part} loss{title}",
        f"loss at the end on the held-out {part} set, with {statistics}",
        (series,),
        formulas.last(series),
        margin=LOSS_MARGIN,
        family=family,
    )
    for score in scores:
        series = f"{part}_{score.name}{ending}"
        better = "higher" if score.higher_is_better else "lower"
        yield Metric(
            series,
            f"{part} {score.title}{title}",
            f"{score.title} at the end on the held-out {part} set, with {statistics}; {better} is better",
            (series,),
            formulas.last(series),
            margin=score.margin,
            higher_is_better=score.higher_is_better,
            scale=score.scale,
            family=family,
            unit=score.unit,
        )


def deployed(part: str, scores: Sequence[ScoreFacts], family: Family) -> Iterator[Metric]:
    """The loss and the scores on a held-out set as a deployed model has them, and what more steps would gain.

    >>> next(deployed("test", (), "secondary")).name
    'test_loss_deployed'
    """
    how = (
        "as a deployed model has it: with the running statistics that training left where the norm keeps them, else as "
        "it is"
    )
    yield Metric(
        f"{part}_loss_deployed",
        f"deployed {part} loss",
        f"loss at the end on the held-out {part} set {how}",
        (f"{part}_loss",),
        formulas.last(f"{part}_loss", deployed=True),
        margin=LOSS_MARGIN,
        family=family,
    )
    for score in scores:
        better = "higher" if score.higher_is_better else "lower"
        yield Metric(
            f"{part}_{score.name}_deployed",
            f"deployed {part} {score.title}",
            f"{score.title} at the end on the held-out {part} set {how}; {better} is better",
            (f"{part}_{score.name}",),
            formulas.last(f"{part}_{score.name}", deployed=True),
            margin=score.margin,
            higher_is_better=score.higher_is_better,
            scale=score.scale,
            family=family,
            unit=score.unit,
        )
    yield Metric(
        f"{part}_projected_gain_deployed",
        f"projected gain of the deployed {part} loss",
        f"share by which the {part} loss {how} would still fall if the steps were doubled, by a power law through the "
        "tail; negative where it rises",
        (f"{part}_loss",),
        formulas.projected_gain(f"{part}_loss", deployed=True),
        margin=0.01,
        scale="difference",
        points=2,
    )


def projected(part: str) -> Metric:
    """What more steps would gain on a held-out set.

    >>> projected("test").name
    'test_projected_gain'
    """
    return Metric(
        f"{part}_projected_gain",
        f"projected gain of the {part} loss",
        f"share by which the {part} loss would still fall if the steps were doubled, by a power law through the tail; "
        "negative where it rises",
        (f"{part}_loss",),
        formulas.projected_gain(f"{part}_loss"),
        margin=0.01,
        scale="difference",
        points=2,
    )
