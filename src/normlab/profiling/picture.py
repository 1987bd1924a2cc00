"""The picture of a profile: time against size, one line for each norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.profiling.spec import Case, Cost, ModelProfile, Profile, Spread
from normlab.tables import in_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, 2008, "Color universal design"; marker and dash tell lines apart without colour.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
_MARKERS = "osD^vPX*ph<>"
_DASHES: tuple[object, ...] = ("-", (0, (5, 1.6)), (0, (1, 1.4)), (0, (5, 1.4, 1, 1.4)), (0, (8, 2)))
_QUIET = "#666666"
_MOST_NORMS = 40  # bars of the picture of a model
_LEGEND_LINE = 0.21  # inches


def draw(profile: Profile | ModelProfile) -> Figure:
    """Draws a profile: lines over sizes, bars for a single shape, bars of shares for a model.

    Raises:
        InputError: nothing was measured.
    """
    if isinstance(profile, ModelProfile):
        return _shares(profile)
    if not any(cost.both for case in profile.cases for cost in case.costs):
        raise InputError("a picture needs a norm that was measured", "none", "Choose norms that fit the shape.")
    where = f"{profile.layout}, {profile.dtype}, {profile.memory_format}, on {profile.device}"
    title = f"{where}{', compiled' if profile.compiled else ''}"
    return _lines(profile, title) if len(profile.cases) > 1 else _bars(profile.cases[0], title)


def _lines(profile: Profile, title: str) -> Figure:
    cases = sorted(profile.cases, key=lambda case: case.bytes)
    names = list(dict.fromkeys(cost.norm for case in cases for cost in case.costs if cost.both))
    shade = 0.15 if len(names) <= len(_COLORS) else 0.05
    figure = _figure(11, max(5.2, 0.6 + _LEGEND_LINE * (len(names) + 1)))
    grid = figure.subplots(1, 3, sharex=True, sharey=True)
    phases: dict[str, Callable[[Cost], Spread | None]] = {
        "forward": lambda cost: cost.forward,
        "backward": lambda cost: cost.backward,
        "both": lambda cost: cost.both,
    }
    for axes, (phase, spread_of) in zip(grid, phases.items(), strict=True):
        for number, name in enumerate(names):
            costs = [(case.bytes / 2**20, cost) for case in cases for cost in case.costs if cost.norm == name]
            points = [(size, spread) for size, cost in costs if (spread := spread_of(cost))]
            sizes = [size for size, _ in points]
            color = _COLORS[number % len(_COLORS)]
            axes.fill_between(
                sizes, [s.low * 1e3 for _, s in points], [s.high * 1e3 for _, s in points], color=color, alpha=shade
            )
            axes.plot(
                sizes,
                [spread.median * 1e3 for _, spread in points],
                color=color,
                marker=_MARKERS[number % len(_MARKERS)],
                linestyle=_DASHES[number % len(_DASHES)],
                markersize=5,
                linewidth=1.4,
                label=_name(costs[0][1]),
            )
        if phase == "both":
            _draw_floor(axes, cases)
        axes.set(title=phase, xlabel="MiB of the input", xscale="log", yscale="log")
        axes.grid(alpha=0.25, linewidth=0.6, which="both")
    _plain(grid[0], [case.bytes / 2**20 for case in cases])
    grid[0].set_ylabel("milliseconds")
    handles = sorted(grid[2].get_legend_handles_labels()[0], key=lambda line: -line.get_ydata()[-1])
    figure.legend(
        handles=handles,
        title=f"slowest first, at {cases[-1].bytes / 2**20:.3g} MiB",
        title_fontsize=8,
        alignment="left",
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        handlelength=3.4,
    )
    figure.suptitle(title, fontsize=10)
    figure.supxlabel("Median over rounds; band: quartiles.", fontsize=8, color=_QUIET)
    return figure


def _draw_floor(axes: Axes, cases: Sequence[Case]) -> None:
    """The least traffic of a norm with statistics: the highest of all floors."""
    floors = [max((cost.floor or 0.0 for cost in case.costs), default=0.0) * 1e3 for case in cases]
    if all(floors):
        axes.plot(
            [case.bytes / 2**20 for case in cases],
            floors,
            color=_QUIET,
            linestyle=":",
            linewidth=1.2,
            label="least traffic at copy speed",
        )


def _plain(axes: Axes, sizes: Sequence[float]) -> None:
    """Numbers written out; sizes at the measured ones, as far as they do not overlap."""
    shown: list[float] = []
    for size in sizes:
        if not shown or size >= 1.9 * shown[-1]:
            shown.append(size)
    axes.set_xticks(shown, [f"{size:.3g}" for size in shown])
    axes.xaxis.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _bars(case: Case, title: str) -> Figure:
    measured = [cost for cost in case.costs if cost.both and cost.forward and cost.backward]
    figure = _figure(9, 1.6 + 0.42 * len(measured))
    axes = figure.subplots()
    places = range(len(measured))
    forward, backward = zip(*map(_split, measured), strict=True)
    axes.barh(places, forward, color=_COLORS[0], label="forward", height=0.7)
    axes.barh(places, backward, left=forward, color=_COLORS[1], hatch="//", edgecolor="white", label="backward")
    floor_label: str | None = "least traffic at copy speed"
    for place, cost in zip(places, measured, strict=True):
        assert cost.both is not None
        low, middle, high = (value * 1e3 for value in (cost.both.low, cost.both.median, cost.both.high))
        axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color="#222222", capsize=2, linewidth=1)
        axes.text(high, place, f"  {in_digits(middle)}", va="center", fontsize=8)
        if cost.floor:
            ends = [place - 0.42, place + 0.42]
            axes.plot([cost.floor * 1e3] * 2, ends, color="#D55E00", linewidth=2, label=floor_label)
            floor_label = None
    axes.set_yticks(places, [_name(cost) for cost in measured])
    axes.set_ylim(len(measured) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_axisbelow(True)
    axes.set_xlabel("milliseconds of both, split as forward to backward\n(median; whiskers: quartiles)")
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(f"{' x '.join(map(str, case.shape))}: {title}", fontsize=10)
    return figure


def _name(cost: Cost) -> str:
    return f"{cost.label}, with its layer" if cost.with_layer else cost.label


def _split(cost: Cost) -> tuple[float, float]:
    """Milliseconds of both passes, in two parts that are to each other as the medians of forward and backward."""
    assert cost.forward
    assert cost.backward
    assert cost.both
    share = cost.forward.median / max(cost.forward.median + cost.backward.median, 1e-12)
    return 1e3 * cost.both.median * share, 1e3 * cost.both.median * (1 - share)


def _shares(profile: ModelProfile) -> Figure:
    norms = sorted(profile.norms, key=lambda norm: -norm.share.median)[:_MOST_NORMS]
    figure = _figure(9, 1.6 + 0.26 * len(norms))
    axes = figure.subplots()
    places = range(len(norms))
    shares = [100 * norm.share.median for norm in norms]
    spread = [[100 * max(0.0, norm.share.median - norm.share.low) for norm in norms]]
    spread.append([100 * max(0.0, norm.share.high - norm.share.median) for norm in norms])
    axes.barh(places, shares, xerr=spread, color=_COLORS[0], height=0.7, error_kw={"linewidth": 0.8})
    axes.set_yticks(places, [f"{norm.name} ({norm.kind})" for norm in norms], fontsize=8)
    axes.set_ylim(len(norms) - 0.4, -0.6)
    passes = "forward and backward" if profile.backward else "forward alone"
    axes.set_xlabel(f"% of a step, {passes} (median; whiskers: quartiles)")
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    count = f", the {len(norms)} largest of {len(profile.norms)}" if len(norms) < len(profile.norms) else ""
    figure.suptitle(f"{profile.model}: norms take {profile.share.median:.1%} of a step{count}", fontsize=10)
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
