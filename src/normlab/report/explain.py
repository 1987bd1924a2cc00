"""Norms explained: text, a table side by side, plain data, and a drawing of what shares a statistic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from normlab.errors import InputError
from normlab.figures.facts import Facts, built, facts, misfit, statistics
from normlab.figures.shape import Shape, parse_layout, parse_shape, reading
from normlab.figures.tensor import Panel, panels
from normlab.norms.catalog import parse
from normlab.norms.entry import norm_entry
from normlab.norms.spec import Norm, NormSpec, with_options
from normlab.records import Layout, Slot
from normlab.report.block import Drawing, arrange, legend_of
from normlab.report.drawing import as_png, as_svg
from normlab.report.entries import as_text, draw, folded, on_shape, sections
from normlab.store.directory import write_file

_FIRST: tuple[Layout, ...] = ("NCHW", "NC", "NLC", "NCL", "NCDHW")  # of the layouts to draw where none is given
_TEXT: tuple[Layout, ...] = ("NC", "NCHW", "NLC")  # drawn in a norm's text where no layout is given
_ENDINGS = (".png", ".svg", ".html")
_NAMED = 4  # norms in a title; of more, the first ones and the number of the others


@dataclass(frozen=True)
class Explanation:
    """What is known of some norms, in general and on input of a shape.

    Arguments:
        norms: the norms.
        layout: the layout to draw; None draws the usual ones.
        shape: the shape of the input; None speaks of none.
        reading: how the sizes were read, where that could be done otherwise.
    """

    norms: tuple[Norm, ...]
    layout: Layout | None = None
    shape: Shape | None = None
    reading: str = ""

    @cached_property
    def facts(self) -> tuple[Facts | str | None, ...]:
        """For each norm what it comes down to on the shape, or why it does not take it; None without a shape."""
        if self.shape is None:
            return (None,) * len(self.norms)
        reasons = [misfit(norm, self.shape) for norm in self.norms]
        return tuple(reason or facts(norm, self.shape) for norm, reason in zip(self.norms, reasons, strict=True))

    def __str__(self) -> str:
        """All that is known of each norm, one after the other."""
        return self.text()

    def text(self, width: int | None = None) -> str:
        """The same, in lines of at most ``width`` characters if one is given."""
        parts = [self._text(norm, found, width) for norm, found in zip(self.norms, self.facts, strict=True)]
        return "\n\n\n".join([*(["\n".join(folded(self.reading, width))] if self.reading else []), *parts])

    @property
    def title(self) -> str:
        """The names of the norms; of many, the first ones."""
        return _few([norm.label for norm in self.norms])

    def rows(self) -> list[tuple[str, tuple[str, ...]]]:
        """The norms side by side: for each property its name and what each norm says; empty ones are left out."""
        columns = [
            {**sections(norm), **on_shape(norm, self.shape, found)}
            for norm, found in zip(self.norms, self.facts, strict=True)
        ]
        return [(name, tuple(column.get(name, "-") for column in columns)) for name in _in_order(columns)]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs, in names that stay stable."""
        shape = None
        if self.shape:
            shape = {"layout": self.shape.layout, **dict(zip(self.shape.layout, self.shape.sizes, strict=True))}
        entries = []
        for norm, found in zip(self.norms, self.facts, strict=True):
            own: dict[str, Any] = {"norm": str(norm), **norm_entry(norm.spec), "chosen": dict(norm.options)}
            own["built"] = dict(zip(("parameters", "buffers"), map(dict, built(norm)), strict=True))
            if found is not None:
                own["on_shape"] = {"misfit": found} if isinstance(found, str) else {"misfit": None, **asdict(found)}
            entries.append(own)
        return {"schema": 1, "shape": shape, "reading": self.reading, "norms": entries}

    def panels(self) -> tuple[Panel, ...]:
        """The tensors to draw: one for each norm and set of axes; norms without a form for the layout have none."""
        layout = self._drawn
        chosen: list[Panel] = []
        for norm in self.norms:
            first: Layout = next(iter(norm.spec.axes))
            own = first if layout is None else layout
            if own in norm.spec.axes:
                chosen += panels(norm, own, self.shape)
        return tuple(chosen)

    @property
    def _drawn(self) -> Layout | None:
        """The layout to draw; None if each norm has another."""
        return self.layout or next((one for one in _FIRST if all(one in norm.spec.axes for norm in self.norms)), None)

    def legend(self) -> str:
        """What colours and lines mean, and which norms are not drawn."""
        missing = [norm.label for norm in self.norms if self._drawn and self._drawn not in norm.spec.axes]
        left_out = f"Not drawn, having no form for {self._drawn} input: {', '.join(missing)}." if missing else ""
        return " ".join(part for part in (legend_of(self.panels()), left_out) if part)

    def drawing(self) -> Drawing:
        """All panels in one picture."""
        drawn = self.panels()
        return arrange(drawn, [self.caption(panel) for panel in drawn], self.legend(), 2 if len(drawn) <= 6 else 3)

    def caption(self, panel: Panel) -> str:
        """The sentence below a panel: what shares a statistic and, on a shape, how many elements do."""
        own = next(norm for norm in self.norms if norm.label == panel.norm)
        taken = statistics(own, self.shape) if self.shape else ()
        return next(
            (
                f"{panel.words}: {one.sentence} statistic{'s' if one.count != 1 else ''}"
                for one in taken
                if one.axes == panel.axes
            ),
            panel.words,
        )

    def svg(self) -> str:
        """The picture as an ``svg`` element."""
        return as_svg(self.drawing(), *self.described(self.panels()), "norms")

    def described(self, drawn: Sequence[Panel]) -> tuple[str, str]:
        """A title and a description of panels, for readers who do not see them."""
        names = _few(list(dict.fromkeys(panel.norm for panel in drawn)))
        parts = [f"{panel.norm} on {panel.layout} input normalizes over {panel.words}." for panel in drawn]
        return f"What shares a statistic in {names}", " ".join(parts)

    def save(self, path: str | Path) -> Path:
        """Writes the picture (``.png``, ``.svg``) or a page with picture and text (``.html``).

        Raises:
            InputError: the name has another ending, or the file cannot be written.
        """
        target = Path(path)
        check_ending(target)
        if target.suffix == ".png":
            content = as_png(self.drawing())
        else:
            content = (self.svg() if target.suffix == ".svg" else self.page()).encode()
        write_file(target, content)
        return target

    def page(self) -> str:
        """A page of its own: drawings and the norms side by side."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("normlab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        warnings = [
            (norm.label, (found,) if isinstance(found, str) else found.warnings)
            for norm, found in zip(self.norms, self.facts, strict=True)
            if found is not None
        ]
        return environment.get_template("explained.html.j2").render(
            title=self.title,
            shape=self.shape,
            reading=self.reading,
            norms=self.norms,
            rows=self.rows(),
            warnings=warnings,
            drawings=self.figures(),
            legend=self.legend(),
        )

    def figures(self) -> list[str]:
        """One ``svg`` element for each panel, which a page lets flow into rows."""
        return [
            as_svg(
                arrange([panel], [self.caption(panel)], legend=""),
                *self.described([panel]),
                f"panel-{number}",
                inline=True,
            )
            for number, panel in enumerate(self.panels())
        ]

    def _text(self, norm: Norm, found: Facts | str | None, width: int | None) -> str:
        body = as_text({**sections(norm), **on_shape(norm, self.shape, found)}, width)
        layouts = [self.layout] if self.layout else list(_TEXT)
        drawn = [
            draw(panel, width)
            for layout in layouts
            if layout in norm.spec.axes
            for panel in panels(norm, layout, self.shape)
        ]
        return "\n\n".join(["\n".join(folded(f"{norm.label} ({norm.spec.name})", width)), body, *drawn])


def _in_order(columns: Sequence[Iterable[str]]) -> list[str]:
    """Each heading once; one that the first columns lack stands behind the one that it follows in its own.

    >>> _in_order([["Formula", "Suits"], ["Formula", "Buffers", "Suits"]])
    ['Formula', 'Buffers', 'Suits']
    """
    names: list[str] = []
    for column in columns:
        place = 0
        for name in column:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return names


def _few(labels: Sequence[str]) -> str:
    """The labels; of many, the first ones and the number of the others.

    >>> _few(["a", "b"]), _few(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    kept = labels if len(labels) <= _NAMED else labels[: _NAMED - 1]
    return ", ".join(kept) + (f" and {len(labels) - len(kept)} more" if len(kept) < len(labels) else "")


def explain(*norms: str | NormSpec, shape: str | Sequence[int] | None = None, layout: str | None = None) -> Explanation:
    """Explains norms: text by ``str()``, a picture by ``.save()``, plain data by ``.as_dict()``.

    Arguments:
        norms: texts such as ``group:groups=8``, or specs.
        shape: sizes of the input such as ``"32,64,56,56"`` or ``(32, 64, 56, 56)``; then numbers and warnings for that
            shape are given.
        layout: order of the axes; by default the first of as many axes as there are sizes that all norms take.

    Raises:
        InputError: a norm, the shape or the layout is unknown or they do not fit each other.

    >>> print(explain("batch", shape="4,64").facts[0].warnings[0])
    only 4 elements of the batch behind each statistic: even if they are independent, the mean is off by 50% of a \
standard deviation and the variance by 71%
    """
    chosen = tuple(
        with_options(norm.name, norm, "", norm.name) if isinstance(norm, NormSpec) else parse(norm) for norm in norms
    )
    if not chosen:
        raise InputError("at least one norm must be explained", "none", "Try normlab.explain('batch').")
    sized = parse_shape(shape, layout, chosen) if shape is not None else None
    order = sized.layout if sized else parse_layout(layout) if layout is not None else None
    if order and not any(order in norm.spec.axes for norm in chosen):
        slot = sized.slot if sized else Slot(1, order)
        given = f"{', '.join(map(str, chosen))}{f' on {sized}' if sized else ''}"
        reasons = ". ".join(reason for norm in chosen if (reason := norm.misfit(slot)))
        raise InputError(f"a norm must have a form for {order} input", given, f"{reasons[0].upper()}{reasons[1:]}.")
    explanation = Explanation(chosen, order, sized, reading(sized, chosen) if sized and layout is None else "")
    assert len(explanation.facts) == len(chosen)  # computed here, so that a misfit is said before anything is written
    return explanation


def check_ending(path: Path) -> None:
    """A picture is written by the ending of its name.

    Raises:
        InputError: the ending is none that can be written.
    """
    if path.suffix not in _ENDINGS:
        advice = "Give it one of these endings."
        raise InputError(f"the name of a picture must end in {', '.join(_ENDINGS)}", repr(str(path)), advice)
