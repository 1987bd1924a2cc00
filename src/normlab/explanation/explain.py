"""Norms explained: text, a table side by side, plain data, and a drawing of what shares a statistic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from normlab import reading
from normlab.errors import InputError
from normlab.explanation.drawing import Drawing, arrange, legend_of
from normlab.explanation.facts import Facts, facts_of, misfit, parameters_and_buffers, statistics
from normlab.explanation.image import as_png, as_svg
from normlab.explanation.panels import Panel, panels
from normlab.explanation.shape import Shape, interpretation, parse_shape
from normlab.explanation.text import as_text, draw, fold, sections, sections_on_shape
from normlab.files import write_file
from normlab.norms.catalog import parse
from normlab.norms.entry import norm_entry
from normlab.norms.layouts import LAYOUTS
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm, NormSpec, with_options

_PREFERRED: tuple[Layout, ...] = ("NCHW", "NC", "NLC", "NCL", "NCDHW")  # the first that all norms take is drawn
_IN_TEXT: tuple[Layout, ...] = ("NC", "NCHW", "NLC")  # layouts that are drawn in a norm's text
_ENDINGS = (".png", ".svg", ".html")
_NAMES_IN_TITLE = 4


@dataclass(frozen=True)
class Explanation:
    """What is known of some norms, in general and on input of a shape.

    Arguments:
        norms: the norms.
        layout: the layout to draw; None for those that are usually drawn.
        shape: the shape of the input; None for norms in general.
        reading: how the sizes of the shape were read, where there is another way to read them.
    """

    norms: tuple[Norm, ...]
    layout: Layout | None = None
    shape: Shape | None = None
    reading: str = ""

    @cached_property
    def facts(self) -> tuple[Facts | str | None, ...]:
        """For each norm its facts on the shape, or why it does not take the shape; None without a shape."""
        shape = self.shape
        if shape is None:
            return (None,) * len(self.norms)
        return tuple(misfit(norm, shape) or facts_of(norm, shape) for norm in self.norms)

    def __str__(self) -> str:
        """All that is known of each norm, one after the other."""
        return self.text()

    def text(self, width: int | None = None) -> str:
        """All that is known of each norm; lines of at most ``width`` characters if a width is given."""
        texts = [self._text(norm, facts, width) for norm, facts in zip(self.norms, self.facts, strict=True)]
        return "\n\n\n".join([*(["\n".join(fold(self.reading, width))] if self.reading else []), *texts])

    def _text(self, norm: Norm, facts: Facts | str | None, width: int | None) -> str:
        body = as_text({**sections(norm), **sections_on_shape(norm, self.shape, facts)}, width)
        drawings = [
            draw(panel, width)
            for layout in ([self.layout] if self.layout else _IN_TEXT)
            if layout in norm.spec.axes
            for panel in panels(norm, layout, self.shape)
        ]
        return "\n\n".join(["\n".join(fold(f"{norm.label} ({norm.spec.name})", width)), body, *drawings])

    @property
    def title(self) -> str:
        """The names of the norms; of many, the first ones."""
        return _abbreviate([norm.label for norm in self.norms])

    def rows(self) -> list[tuple[str, tuple[str, ...]]]:
        """The norms side by side: for each heading the text of each norm; headings without any text are left out."""
        columns = [
            {**sections(norm), **sections_on_shape(norm, self.shape, facts)}
            for norm, facts in zip(self.norms, self.facts, strict=True)
        ]
        return [(heading, tuple(column.get(heading, "-") for column in columns)) for heading in _merge(columns)]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs, in names that stay stable."""
        shape = {"layout": self.shape.layout, **self.shape.by_axis} if self.shape else None
        norms = []
        for norm, facts in zip(self.norms, self.facts, strict=True):
            parameters, buffers = parameters_and_buffers(norm)
            entry: dict[str, Any] = {"norm": str(norm), **norm_entry(norm.spec), "chosen": dict(norm.options)}
            entry["built"] = {"parameters": dict(parameters), "buffers": dict(buffers)}
            if facts is not None:
                entry["on_shape"] = {"misfit": facts} if isinstance(facts, str) else _facts_as_dict(facts)
            norms.append(entry)
        return {"schema": 1, "shape": shape, "reading": self.reading, "norms": norms}

    def panels(self) -> tuple[Panel, ...]:
        """The tensors to draw: one for each norm and set of axes; none for norms that do not take the layout."""
        tensors: list[Panel] = []
        for norm in self.norms:
            first: Layout = next(iter(norm.spec.axes))
            layout = self._drawn_layout or first
            if layout in norm.spec.axes:
                tensors += panels(norm, layout, self.shape)
        return tuple(tensors)

    @property
    def _drawn_layout(self) -> Layout | None:
        """The layout to draw; None if each norm is drawn on its own first layout."""
        shared = (layout for layout in _PREFERRED if all(layout in norm.spec.axes for norm in self.norms))
        return self.layout or next(shared, None)

    def legend(self) -> str:
        """What colours and lines mean, and which norms are not drawn."""
        layout = self._drawn_layout
        missing = [norm.label for norm in self.norms if layout and layout not in norm.spec.axes]
        left_out = f"Not drawn, having no form for {layout} input: {', '.join(missing)}." if missing else ""
        return " ".join(filter(None, (legend_of(self.panels()), left_out)))

    def drawing(self) -> Drawing:
        """All panels in one picture."""
        tensors = self.panels()
        columns = 2 if len(tensors) <= 6 else 3
        return arrange(tensors, [self.caption(panel) for panel in tensors], self.legend(), columns)

    def caption(self, panel: Panel) -> str:
        """The sentence below a panel: what shares a statistic and, on a shape, how many elements do."""
        norm = next(norm for norm in self.norms if norm.label == panel.norm)
        for statistic in statistics(norm, self.shape) if self.shape else ():
            if statistic.axes == panel.axes:
                return f"{panel.sharing}: {statistic.sentence} statistic{'s' if statistic.count != 1 else ''}"
        return panel.sharing

    def svg(self) -> str:
        """The picture as an ``svg`` element."""
        return as_svg(self.drawing(), *_describe(self.panels()), "norms")

    def figures(self) -> list[str]:
        """An ``svg`` element for each panel, for a page that arranges them to its width."""
        return [
            as_svg(
                arrange([panel], [self.caption(panel)], legend=""), *_describe([panel]), f"panel-{number}", inline=True
            )
            for number, panel in enumerate(self.panels())
        ]

    def save(self, path: str | Path) -> Path:
        """Writes the picture (``.png``, ``.svg``) or a page with picture and text (``.html``).

        Raises:
            InputError: the name has another ending, or the file cannot be written.
        """
        target = _picture_path(path)
        if target.suffix == ".png":
            content = as_png(self.drawing())
        else:
            content = (self.svg() if target.suffix == ".svg" else self.page()).encode()
        write_file(target, content)
        return target

    def page(self) -> str:
        """A page of its own: drawings, warnings, and the norms side by side."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("normlab.explanation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        warnings = [
            (norm.label, (facts,) if isinstance(facts, str) else facts.warnings)
            for norm, facts in zip(self.norms, self.facts, strict=True)
            if facts is not None
        ]
        return environment.get_template("explanation.html.j2").render(
            title=self.title,
            shape=self.shape,
            reading=self.reading,
            norms=self.norms,
            rows=self.rows(),
            warnings=warnings,
            drawings=self.figures(),
            legend=self.legend(),
        )


def _facts_as_dict(facts: Facts) -> dict[str, Any]:
    statistics = [
        {"words" if name == "sharing" else name: value for name, value in asdict(statistic).items()}
        for statistic in facts.statistics
    ]
    return {"misfit": None, **asdict(facts), "statistics": statistics}


def _describe(tensors: Sequence[Panel]) -> tuple[str, str]:
    """A title and a description of panels, for readers who do not see them."""
    names = _abbreviate(list(dict.fromkeys(panel.norm for panel in tensors)))
    sentences = [f"{panel.norm} on {panel.layout} input normalizes over {panel.sharing}." for panel in tensors]
    return f"What shares a statistic in {names}", " ".join(sentences)


def _merge(columns: Sequence[Iterable[str]]) -> list[str]:
    """Each heading once; a heading that the first columns lack comes after the one before it in its own column.

    >>> _merge([["Formula", "Suits"], ["Formula", "Buffers", "Suits"]])
    ['Formula', 'Buffers', 'Suits']
    """
    headings: list[str] = []
    for column in columns:
        place = 0
        for heading in column:
            if heading not in headings:
                headings.insert(place, heading)
            place = headings.index(heading) + 1
    return headings


def _abbreviate(labels: Sequence[str]) -> str:
    """The labels; of many, the first ones and the number of the others.

    >>> _abbreviate(["a", "b"]), _abbreviate(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    named = labels if len(labels) <= _NAMES_IN_TITLE else labels[: _NAMES_IN_TITLE - 1]
    return ", ".join(named) + (f" and {len(labels) - len(named)} more" if len(named) < len(labels) else "")


def _picture_path(path: str | Path) -> Path:
    """The path of a picture, whose ending says how it is written.

    Raises:
        InputError: it is no path, or its ending is none of those that can be written.
    """
    if not isinstance(path, str | Path):
        raise InputError("`path` must be the name of a file", repr(path), "Try `path=norms.png`.")
    if Path(path).suffix not in _ENDINGS:
        advice = "Give it one of these endings."
        raise InputError(f"the name of a picture must end in {', '.join(_ENDINGS)}", repr(str(path)), advice)
    return Path(path)


def explain(*norms: str | NormSpec, shape: str | Sequence[int] | None = None, layout: str | None = None) -> Explanation:
    """Explains norms: text by ``str()``, a picture by ``.save()``, plain data by ``.as_dict()``.

    Arguments:
        norms: texts such as ``group:groups=8``, or specs.
        shape: sizes of the input such as ``"32,64,56,56"`` or ``(32, 64, 56, 56)``; numbers and warnings are then those
            of that shape.
        layout: order of the axes; by default the first of as many axes as there are sizes that all norms take.

    Raises:
        InputError: a norm, the shape or the layout is unknown or they do not fit each other.

    >>> print(explain("batch", shape="4,64").facts[0].warnings[0])
    only 4 elements of the batch behind each statistic: even if they are independent, the mean is off by 50% of a \
standard deviation and the variance by 71%
    """
    parsed = tuple(
        with_options(norm.name, norm, "", norm.name) if isinstance(norm, NormSpec) else parse(norm) for norm in norms
    )
    if not parsed:
        raise InputError("at least one norm must be explained", "none", "Try normlab.explain('batch').")
    on_shape = parse_shape(shape, layout, parsed) if shape is not None else None
    order = on_shape.layout if on_shape else reading.layout(layout, LAYOUTS) if layout is not None else None
    if order and not any(order in norm.spec.axes for norm in parsed):
        raise _no_form(parsed, order, on_shape)
    how_read = interpretation(on_shape, parsed) if on_shape and layout is None else ""
    explanation = Explanation(parsed, order, on_shape, how_read)
    assert len(explanation.facts) == len(parsed)  # computed here, so that a misfit is said before anything is written
    return explanation


def _no_form(norms: Sequence[Norm], layout: Layout, shape: Shape | None) -> InputError:
    """The error that none of the norms takes the layout."""
    slot = shape.slot if shape else Slot(1, layout)
    reasons = ". ".join(reason for norm in norms if (reason := norm.misfit(slot)))
    rule = f"a norm must have a form for {layout} input"
    return InputError(
        rule, f"{', '.join(map(str, norms))}{f' on {shape}' if shape else ''}", f"{reasons[:1].upper()}{reasons[1:]}."
    )
