"""What was found of the layers as tables, a page and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costs.contenders import OURS, TARGETS
from speed.report import Table, number, table_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]
TARGET = 1.2  # of torch's best LayerNorm on the same bytes
LARGE = 64  # MiB, for which the target is set
SLOWER = 1.05  # of the composition, beyond which a layer counts as slower; below, it is the noise of the machine
WRONG = 1e-3  # of the largest value, beyond which results are not the same
LOOKS = {"normlab": "#0072B2", "torch's own": "#E69F00", "composition": "#9a9a9a", "timm": "#009E73"}


def tables(result: Result) -> Iterator[Table]:
    """For each size every row, then the targets."""
    for size in result["sizes"]:
        yield _rows(size)
        yield _targets(size)


def markdown(result: Result, picture: str) -> str:
    """The dated page beside the JSON file."""
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    pages = "large pages (THP_MEM_ALLOC_ENABLE=1)" if result["large_pages"] else "ordinary pages"
    lines = [f"# Layers on {result['date']}", "", f"Machine: {machine}. {result['clock'].capitalize()}, {pages}.", ""]
    lines += [f"`{result['command_line']}`", ""]
    lines.append(f"![Forward and backward pass of the layers]({picture})")
    for table in tables(result):
        lines += table_lines(table)
    return "\n".join(lines).rstrip() + "\n"


def _rows(size: Result) -> Table:
    columns = ("layer", "ms", "quartiles", "forward", "backward", "over LayerNorm", "over composition")
    rows = []
    for row in size["rows"]:
        name = f"{row['norm']} {row['layout']}, {row['who']}"
        if row["skipped"]:
            rows.append((f"{name}: {row['skipped']}", *[""] * 10))
            continue
        timed, made = row["milliseconds"], row["made_of"]
        counted = f"{row['counted']['passes']}, {row['counted']['fresh']}" if row["counted"] else ""
        wrong = f" DIFFERS by {row['deviation']:.0e}" if row["deviation"] > WRONG else ""
        rows.append(
            (
                f"{name}, {row['mode']}{wrong}",
                number(timed["median"]),
                f"{number(timed['low'])}-{number(timed['high'])}",
                number(row["forward"]),
                number(row["backward"]),
                _ratio(row["over_layer"]),
                _ratio(row.get("over_composition")),
                counted,
                *(number(made[part]) for part in ("allocation", "passes", "rest")),
            )
        )
    others = "" if size["others"] is None else f" Other processes kept {size['others']:.2f} cores busy meanwhile."
    shapes = ", ".join(f"{layout} {' x '.join(map(str, shape))}" for layout, shape in size["shapes"].items())
    notes = (
        f"{shapes}, float32, training; milliseconds of forward and backward pass, median over rounds.{others}",
        f"A copy of such a tensor takes {number(size['copy_ms'])} ms; a fresh one costs {number(size['fresh_ms'])} ms "
        f"before anything is in it. Floor: 5 passes, {number(size['floor_ms'])} ms; with the two tensors that every "
        f"layer must allocate (output and gradient), {number(size['fresh_floor_ms'])} ms.",
        "Made of: passes over whole tensors (counted at the borders of torch's operations; compiled layers are taken "
        "to need the least: 5, and 2 fresh) at the speed of a copy, allocation of fresh ones, and the rest: "
        "arithmetic, passes within an operation, calls.",
        f"over LayerNorm: to the better of torch's own ({size['base'].rsplit(' ', 1)[-1]}), within each round.",
    )
    more = ("passes, fresh", "of it allocation", "passes", "rest")
    return Table(f"{size['mebibytes']:g} MiB", (*columns, *more), tuple(rows), notes)


def targets(size: Result) -> list[dict[str, Any]]:
    """For each layer of ours the better of eager and compiled, whether it meets the target and beats compositions."""
    found = []
    rows = [row for row in size["rows"] if row["who"] == OURS and not row["skipped"]]
    for name, layout in dict.fromkeys((row["norm"], row["layout"]) for row in rows):
        own = [row for row in rows if (row["norm"], row["layout"]) == (name, layout)]
        best = min(own, key=lambda row: float(row["milliseconds"]["median"]))
        slower = [row["mode"] for row in own if row.get("over_composition", {"median": 0})["median"] > SLOWER]
        ratio = best["over_layer"]["median"]
        met = ratio <= TARGET if name in TARGETS and size["mebibytes"] >= LARGE else None
        found.append(
            {
                "norm": name,
                "layout": layout,
                "mode": best["mode"],
                "ratio": ratio,
                "met": met,
                "over_floor": best["milliseconds"]["median"] / size["fresh_floor_ms"],
                "slower_than_composition": slower,
            }
        )
    return found


def _targets(size: Result) -> Table:
    rows = []
    for found in targets(size):
        verdict = {True: "met", False: "MISSED", None: ""}[found["met"]]
        slower = ", ".join(found["slower_than_composition"]) or "no"
        name = f"{found['norm']} {found['layout']}"
        rows.append((name, found["mode"], number(found["ratio"]), verdict, number(found["over_floor"]), slower))
    columns = (
        "normlab's layer",
        "better mode",
        "over LayerNorm",
        "within 1.2",
        "over floor",
        "slower than composition",
    )
    return Table(f"{size['mebibytes']:g} MiB: the better of eager and compiled", columns, tuple(rows))


def _ratio(found: Result | None) -> str:
    return f"{number(found['median'])} ({number(found['low'])}-{number(found['high'])})" if found else ""


def draw(result: Result, path: Path) -> None:
    """Bars of the better mode of every layer, one panel for each size."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    panels = [_better(size) for size in result["sizes"]]
    names = list(dict.fromkeys(name for panel in panels for name in panel))
    figure = Figure(figsize=(3.2 + 3.6 * len(panels), 1.6 + 0.19 * len(names)), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axes, size, rows in zip(grid[0], result["sizes"], panels, strict=True):
        _draw(axes, size, rows, names)
    grid[0][0].set_yticks(range(len(names)), names, fontsize=7)
    grid[0][0].set_ylim(len(names) - 0.4, -0.6)
    handles = [Patch(color=color, label=who) for who, color in LOOKS.items()]
    lines, labels = grid[0][0].get_legend_handles_labels()
    figure.legend([*handles, *lines], [*LOOKS, *labels], loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    machine = result["machine"]
    title = f"Forward and backward pass: {machine['processor']}, {machine['torch_threads']} threads, {result['date']}"
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)


def _better(size: Result) -> dict[str, Any]:
    """The quicker of eager and compiled, by layer."""
    found: dict[str, Any] = {}
    for row in size["rows"]:
        name = f"{row['norm']} {row['layout']}, {row['who']}"
        if row["skipped"] or (name in found and found[name]["milliseconds"]["median"] < row["milliseconds"]["median"]):
            continue
        found[name] = row
    return found


def _draw(axes: Axes, size: Result, rows: Mapping[str, Any], names: list[str]) -> None:
    for name, row in rows.items():
        place, timed = names.index(name), row["milliseconds"]
        whisker = [[timed["median"] - timed["low"]], [timed["high"] - timed["median"]]]
        hatch = "///" if row["mode"] == "compiled" else None
        look: dict[str, Any] = {"color": LOOKS[row["who"]], "height": 0.8, "linewidth": 0, "edgecolor": "white"}
        axes.barh(place, timed["median"], xerr=whisker, hatch=hatch, error_kw={"linewidth": 0.8}, **look)
        axes.text(timed["high"] * 1.04, place, f"{number(timed['median'])}", va="center", fontsize=6.5)
    axes.axvline(size["fresh_floor_ms"], color="#D55E00", linewidth=1, label="floor with two fresh tensors")
    base = next(
        row for row in size["rows"] if f"{row['norm']} {row['layout']} {row['who']} {row['mode']}" == size["base"]
    )
    goal = TARGET * base["milliseconds"]["median"]
    axes.axvline(goal, color="#222222", linewidth=1, linestyle="--", label="1.2 times torch's best LayerNorm")
    axes.margins(x=0.12)
    axes.set_xlabel("ms (whiskers: quartiles; hatched: compiled)", fontsize=8)
    axes.set_title(f"{size['mebibytes']:g} MiB", fontsize=9, loc="left")
