"""The table of norms; loaded when it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from normlab.cli.console import OUT, show_text
from normlab.explanation.text import total
from normlab.norms.layouts import LAYOUTS
from normlab.norms.slot import Layout
from normlab.norms.spec import NormSpec
from normlab.reading import layout as read_layout
from normlab.tables import Column, fitting_columns, fitting_table

TITLE = "Norms, with options as name:key=value,key=value; package.module:object for your own"


def show(specs: Sequence[NormSpec], layout: str | None = None) -> None:
    """Shows norms with their statistics on input of ``layout``, by default of the usual one."""
    if not specs:
        show_text("No norm fulfils all of this. normlab norms lists all of them.")
        return
    columns = _columns(specs, read_layout(layout, LAYOUTS) if layout is not None else None)
    OUT.print(fitting_table(TITLE, columns, OUT.width))
    if any("/" in axis for spec in specs for axes in spec.axes.values() for axis in axes):
        OUT.print("C/G: the channels of a group; CHW/G: a part of the features; N/S: the samples of a chunk.")
    OUT.print("Learned numbers, by default: C channels, P positions, K kinds of statistics.")
    whole = len(fitting_columns(columns, OUT.width, edges=False)) == len(columns)
    more = "more of each and its options" if whole else "layouts, options and more of each"
    OUT.print(f"normlab explain NAME says {more}; normlab norms --help lists filters.")


def _columns(specs: Sequence[NormSpec], layout: Layout | None) -> tuple[Column, ...]:
    titles = [f"{spec.title} (with activation)" if spec.activates else spec.title for spec in specs]
    return (
        Column("name", [spec.name for spec in specs]),
        Column("layer", titles, fold=15),
        Column("statistics over", [_statistics(spec, layout) for spec in specs], fold=8),
        Column("batch", ["coupled" if spec.couples_batch else "free" for spec in specs], rank=1),
        Column("state", ["no" if spec.state == "none" else "yes" for spec in specs], rank=2),
        Column("learned", [total(spec.parameters) for spec in specs], rank=1),
        Column("layouts", [" ".join(spec.axes) for spec in specs], rank=3),
        Column("options", [", ".join(option.name for option in spec.options) for spec in specs], rank=4, fold=20),
    )


def _statistics(spec: NormSpec, layout: Layout | None) -> str:
    """The axes that share a statistic, on input of the layout that was asked for, or the usual one."""
    usual: Layout = "NCHW" if "NCHW" in spec.axes else next(iter(spec.axes))
    order = layout or usual
    axes = " and ".join(",".join(axes) or "one element" for axes in spec.sets(order))
    return f"{axes} of {order}" if axes else "weights" if spec.wrap else "-"
