"""What a norm says of itself as text by heading, and its drawing in letters."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping

from normlab.explanation.facts import Facts, parameters_and_buffers
from normlab.explanation.panels import Panel, describe_no_sharing, describe_sharing
from normlab.explanation.shape import Shape
from normlab.norms.entry import norm_entry
from normlab.norms.slot import Layout
from normlab.norms.spec import Norm, NormSpec, Option, value_text

SHARED, OTHER = "█", "·"
_WITH_HEADING = {  # fields of an entry that have a heading in `sections`
    *("name", "title", "formula", "source", "layouts", "train", "evaluate", "affine", "state", "initial", "suits"),
    *("breaks", "libraries", "parameters", "buffers"),
}
_HEADINGS = {"single": "With one element", "elsewhere": "On other layouts"}  # else the field's own name


def sections(norm: Norm) -> dict[str, str]:
    """What a norm says of itself, by heading, with the values of its options.

    >>> from normlab.norms.catalog import parse
    >>> sections(parse("group:groups=8"))["Options"].splitlines()[0]
    'groups=8 (32 by default)  number of groups, which must divide the channels'
    """
    spec = norm.spec
    options = [f"{_option_text(norm, option)}  {option.meaning}" for option in spec.options]
    parameters, buffers = parameters_and_buffers(norm)
    by_heading = {
        "Formula": spec.formula,
        "Source": spec.source,
        "Normalizes over": _normalized_axes(spec),
        "Couples the batch": "yes, in training" if spec.couples_batch else "no",
        "In training": spec.train,
        "In evaluation": spec.evaluate,
        "Learned": _with_these_options(spec.affine, spec.parameters, parameters),
        "Parameters": _size_list(parameters, spec.parameters),
        "State": _with_these_options(spec.state, spec.buffers, buffers),
        "Buffers": _size_list(buffers, spec.buffers),
        "Starts": spec.initial,
        "Activation": "has one of its own; none follows" if spec.activates else "",
        "Changes weights": "yes, of the layer before" if spec.wrap else "",
        "Does not feel": ", ".join(sorted(spec.invariances)),
        "Options": "\n".join(options) or "none",
        "Suits": spec.suits,
        "Breaks on": spec.breaks,
        "Degenerate shapes": "\n".join(f"{shape}: {reason}" for shape, reason in spec.degenerate),
        "In libraries": "\n".join(f"{library}: {remark}" for library, remark in spec.libraries.items()),
    }
    return {heading: text for heading, text in {**by_heading, **_further_sections(spec)}.items() if text}


def _option_text(norm: Norm, option: Option) -> str:
    value, default = value_text(norm.options[option.name]), value_text(option.default)
    return f"{option.name}={value}" + (f" ({default} by default)" if value != default else "")


def _with_these_options(description: str, by_default: Mapping[str, str], sizes: Mapping[str, str]) -> str:
    """The entry's description; where the options change what there is, behind the names of that."""
    if sizes == by_default:
        return description
    return f"with these options {', '.join(sizes) or 'nothing'}; in general {description}"


def _size_list(sizes: Mapping[str, str], by_default: Mapping[str, str]) -> str:
    lines = [f"{name}: {size}{_explain_letters(size)}" for name, size in sizes.items()]
    return "\n".join(lines) or ("none" if by_default else "")


def _explain_letters(size: str) -> str:
    """What the letters of a size stand for, except C, the channels."""
    meanings = {"P": "positions", "G": "groups", "K": "kinds of statistics", "F": "fan-in"}
    explained = [f"{letter}: {meaning}" for letter, meaning in meanings.items() if letter in size.split()]
    return f" ({', '.join(explained)})" if explained else ""


def total(sizes: Mapping[str, str]) -> str:
    """The sum of sizes in letters.

    >>> total({"weight": "C P", "bias": "C P", "alpha": "1"}), total({})
    ('2CP + 1', '0')
    """
    counts = Counter(size.replace(" ", "") for size in sizes.values())
    single = counts.pop("1", 0)
    terms = [*(size if n == 1 else f"{n}{size}" for size, n in counts.items()), *([str(single)] if single else [])]
    return " + ".join(terms) or "0"


def _further_sections(spec: NormSpec) -> dict[str, str]:
    """The other fields of the entry that hold text, or texts by name."""
    further: dict[str, str] = {}
    for name, value in norm_entry(spec).items():
        if name in _WITH_HEADING:
            continue
        heading = _HEADINGS.get(name, name.capitalize())
        if isinstance(value, dict):
            further[heading] = "\n".join(f"{key}: {remark}" for key, remark in value.items())
        elif isinstance(value, str):
            further[heading] = value
    return further


def _normalized_axes(spec: NormSpec) -> str:
    """What the norm normalizes over: a line for all layouts on which that is the same."""
    layouts_by_axes: dict[str, list[str]] = {}
    for layout in spec.axes:
        layouts_by_axes.setdefault(describe_axes(spec, layout), []).append(layout)
    return "\n".join(f"{', '.join(layouts)}: {axes}" for axes, layouts in layouts_by_axes.items())


def sections_on_shape(norm: Norm, shape: Shape | None, facts: Facts | str | None) -> dict[str, str]:
    """What a norm comes down to on a shape, by heading; nothing without a shape.

    Arguments:
        norm: the norm.
        shape: the shape of the input.
        facts: its facts on that shape, or why the norm does not take it.
    """
    if shape is None or facts is None:
        return {}
    heading = f"On {shape}"
    if isinstance(facts, str):
        return {heading: facts}
    lines = [f"{statistic.sharing}: {statistic.sentence}" for statistic in facts.statistics]
    channels = shape.slot.channels
    to = f", added to a linear layer of {channels:,} inputs and {channels:,} outputs" if norm.spec.wrap else ""
    return {
        heading: "\n".join(lines) or "no statistics of activations",
        "Parameters there": f"{facts.parameters:,}{to}",
        "Buffers there": f"{facts.buffers:,}{to}",
        "Warnings": "\n".join(facts.warnings) or "none",
    }


def as_text(by_heading: Mapping[str, str], width: int | None = None) -> str:
    """Headings, each with its text indented below it; lines of at most ``width`` characters if a width is given.

    >>> print(as_text({"Suits": "small batches and long words"}, 20))
    Suits
      small batches and
        long words
    """
    lines = []
    for heading, text in by_heading.items():
        lines.append(heading)
        for line in text.split("\n"):
            lines += fold(line, width, "  ")
    return "\n".join(lines)


def fold(line: str, width: int | None, indent: str = "") -> list[str]:
    """A line as lines of at most ``width`` characters; those after the first are indented by two more."""
    if width is None or len(indent + line) <= width:
        return [indent + line]
    return textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def describe_axes(spec: NormSpec, layout: Layout) -> str:
    """What shares one statistic on input of that layout.

    >>> from normlab.norms.batch import BATCH
    >>> describe_axes(BATCH, "NC")
    'all samples of each channel'
    """
    return "; ".join(describe_sharing(layout, axes) for axes in spec.sets(layout)) or describe_no_sharing(spec)


def draw(panel: Panel, width: int | None = None) -> str:
    """A panel as text; the elements that share the statistic of the first element are filled.

    Arguments:
        panel: what is drawn.
        width: the most characters of a line; positions that do not fit stand below the others.

    >>> from normlab.explanation.panels import panels
    >>> from normlab.norms.catalog import parse
    >>> print(draw(panels(parse("layer"), "NC")[0]))
    NC input, over C; █ shares one statistic
              channels 1 2 3 4 5 6
      sample 1         █ █ █ █ █ █
      sample 2         · · · · · ·
      sample 3         · · · · · ·
      sample 4         · · · · · ·
    """
    if panel.set_numbers is None:
        return f"{panel.layout} input; weights are changed, not activations"
    heading = f"{panel.layout} input, over {panel.over}; {SHARED} shares one statistic"
    if not panel.statistics:
        heading = f"{panel.layout} input; no statistic is shared"
    samples, channels, positions = panel.set_numbers.shape
    marks = (panel.set_numbers == 0) & panel.statistics
    block = 2 * channels - 1 + len(_BETWEEN)
    beside = positions if width is None else max((width - _LEFT + len(_BETWEEN)) // block, 1)
    lines = fold(heading, width)
    for first in range(0, positions, beside):
        places = range(first, min(first + beside, positions))
        lines += _ruler(channels, places, positions)
        for sample in range(samples):
            blocks = (
                " ".join(SHARED if marks[sample, channel, place] else OTHER for channel in range(channels))
                for place in places
            )
            lines.append(f"  sample {sample + 1}".ljust(_LEFT) + _BETWEEN.join(blocks))
    return "\n".join(lines)


_LEFT, _BETWEEN = 19, "   "  # characters before the channels, and between positions


def _ruler(channels: int, places: range, positions: int) -> list[str]:
    """The lines above the elements: which positions, if there are several, and which channels."""
    numbers = " ".join(str(channel + 1) for channel in range(channels))
    ruler = "channels ".rjust(_LEFT) + _BETWEEN.join([numbers] * len(places))
    if positions == 1:
        return [ruler]
    width = len(numbers) + len(_BETWEEN)
    noun = next((noun for noun in ("position ", "pos ") if len(noun) + len(str(positions)) < width), "p")
    return [(" " * _LEFT + "".join(f"{noun}{place + 1}".ljust(width) for place in places)).rstrip(), ruler]
