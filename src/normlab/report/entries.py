"""What a norm says of itself, in words by heading, and its drawing in letters."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping

from normlab.figures.facts import Facts, built
from normlab.figures.shape import Shape
from normlab.figures.tensor import Panel, nothing_in_words, sharing_in_words
from normlab.norms.entry import norm_entry
from normlab.norms.spec import Norm, NormSpec, Option, value_text
from normlab.records import Layout

SHARED, OTHER = "█", "·"
_TOLD = {  # names of an entry that a heading of its own tells
    *("name", "title", "formula", "source", "layouts", "train", "evaluate", "affine", "state", "initial", "suits"),
    *("breaks", "libraries", "parameters", "buffers"),
}
_HEADINGS = {"single": "With one element", "elsewhere": "On other layouts"}  # else the name itself


def sections(norm: Norm) -> dict[str, str]:
    """What a norm says of itself, by heading, with the options that were chosen.

    >>> from normlab.norms.catalog import parse
    >>> sections(parse("group:groups=8"))["Options"].splitlines()[0]
    'groups=8 (32 by default)  number of groups, which must divide the channels'
    """
    spec = norm.spec
    options = [f"{_chosen(norm, option)}  {option.meaning}" for option in spec.options]
    parameters, buffers = built(norm)
    said = {
        "Formula": spec.formula,
        "Source": spec.source,
        "Normalizes over": _over(spec),
        "Couples the batch": "yes, in training" if spec.couples_batch else "no",
        "In training": spec.train,
        "In evaluation": spec.evaluate,
        "Learned": _held(spec.affine, spec.parameters, parameters),
        "Parameters": _sized(parameters, spec.parameters),
        "State": _held(spec.state, spec.buffers, buffers),
        "Buffers": _sized(buffers, spec.buffers),
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
    return {name: text for name, text in {**said, **_further(spec)}.items() if text}


def _chosen(norm: Norm, option: Option) -> str:
    value, usual = (value_text(one) for one in (norm.options[option.name], option.default))
    return f"{option.name}={value}" + (f" ({usual} by default)" if value != usual else "")


def _held(words: str, usual: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The words of the entry, behind what there is if the chosen options change it."""
    return words if own == usual else f"with these options {', '.join(own) or 'nothing'}; in general {words}"


def _sized(own: Mapping[str, str], usual: Mapping[str, str]) -> str:
    told = [f"{name}: {size}{_letters(size)}" for name, size in own.items()]
    return "\n".join(told) or ("none" if usual else "")


def _letters(size: str) -> str:
    """What the letters of a size stand for, but for C, the channels."""
    known = {"P": "positions", "G": "groups", "K": "kinds of statistics", "F": "fan-in"}
    words = [f"{letter}: {word}" for letter, word in known.items() if letter in size.split()]
    return f" ({', '.join(words)})" if words else ""


def total(sizes: Mapping[str, str]) -> str:
    """Sizes by name added up.

    >>> total({"weight": "C P", "bias": "C P", "alpha": "1"}), total({})
    ('2CP + 1', '0')
    """
    counts = Counter(size.replace(" ", "") for size in sizes.values())
    single = counts.pop("1", 0)
    terms = [*(size if n == 1 else f"{n}{size}" for size, n in counts.items()), *([str(single)] if single else [])]
    return " + ".join(terms) or "0"


def _further(spec: NormSpec) -> dict[str, str]:
    """What the entry says beside the headings above: words, and words by name."""
    said: dict[str, str] = {}
    for name, value in norm_entry(spec).items():
        if name in _TOLD:
            continue
        heading = _HEADINGS.get(name, name.capitalize())
        if isinstance(value, dict):
            said[heading] = "\n".join(f"{key}: {remark}" for key, remark in value.items())
        elif isinstance(value, str):
            said[heading] = value
    return said


def _over(spec: NormSpec) -> str:
    """A line for each of the different things that it normalizes over, with the layouts."""
    lines: dict[str, list[str]] = {}
    for layout in spec.axes:
        lines.setdefault(axes_in_words(spec, layout), []).append(layout)
    return "\n".join(f"{', '.join(layouts)}: {words}" for words, layouts in lines.items())


def on_shape(norm: Norm, shape: Shape | None, found: Facts | str | None) -> dict[str, str]:
    """What a norm comes down to on a shape, by heading."""
    if shape is None or found is None:
        return {}
    heading = f"On {shape}"
    if isinstance(found, str):
        return {heading: found}
    lines = [f"{one.words}: {one.sentence}" for one in found.statistics]
    channels = shape.slot.channels
    to = f", added to a linear layer of {channels:,} inputs and {channels:,} outputs" if norm.spec.wrap else ""
    return {
        heading: "\n".join(lines) or "no statistics of activations",
        "Parameters there": f"{found.parameters:,}{to}",
        "Buffers there": f"{found.buffers:,}{to}",
        "Warnings": "\n".join(found.warnings) or "none",
    }


def as_text(said: Mapping[str, str], width: int | None = None) -> str:
    """Headings, with what is said indented below them; lines of at most ``width`` characters if one is given.

    >>> print(as_text({"Suits": "small batches and long words"}, 20))
    Suits
      small batches and
        long words
    """
    lines = []
    for heading, text in said.items():
        lines.append(heading)
        for line in text.split("\n"):
            lines += folded(line, width, "  ")
    return "\n".join(lines)


def folded(line: str, width: int | None, indent: str = "") -> list[str]:
    """A line as lines of at most ``width`` characters, those after the first further in."""
    if width is None or len(indent + line) <= width:
        return [indent + line]
    return textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def axes_in_words(spec: NormSpec, layout: Layout) -> str:
    """What shares one statistic on input of that layout.

    >>> from normlab.norms.batch import BATCH
    >>> axes_in_words(BATCH, "NC")
    'all samples of each channel'
    """
    sets = spec.sets(layout)
    return "; ".join(sharing_in_words(layout, axes) for axes in sets) or nothing_in_words(spec)


def draw(panel: Panel, width: int | None = None) -> str:
    """A panel as text; the elements that share the statistic of the first one are filled.

    Arguments:
        panel: what is drawn.
        width: the most characters of a line; positions that do not fit stand below the others.

    >>> from normlab.figures.tensor import panels
    >>> from normlab.norms.catalog import parse
    >>> print(draw(panels(parse("layer"), "NC")[0]))
    NC input, over C; █ shares one statistic
              channels 1 2 3 4 5 6
      sample 1         █ █ █ █ █ █
      sample 2         · · · · · ·
      sample 3         · · · · · ·
      sample 4         · · · · · ·
    """
    if panel.sets is None:
        return f"{panel.layout} input; weights are changed, not activations"
    heading = f"{panel.layout} input, over {axes_of(panel)}; {SHARED} shares one statistic"
    if not panel.statistics:
        heading = f"{panel.layout} input; no statistic is shared"
    samples, channels, positions = panel.sets.shape
    marks = (panel.sets == 0) & panel.statistics
    block = 2 * channels - 1 + len(_BETWEEN)
    beside = positions if width is None else max((width - _LEFT + len(_BETWEEN)) // block, 1)
    lines = folded(heading, width)
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


def axes_of(panel: Panel) -> str:
    """The axes that a panel's statistics are taken over."""
    return ", ".join(panel.axes) or "single elements"


_LEFT, _BETWEEN = 19, "   "  # characters before the channels, and between positions


def _ruler(channels: int, places: range, positions: int) -> list[str]:
    """The lines above the elements: which positions, if there are several, and which channels."""
    numbers = " ".join(str(channel + 1) for channel in range(channels))
    ruler = "channels ".rjust(_LEFT) + _BETWEEN.join([numbers] * len(places))
    if positions == 1:
        return [ruler]
    room = len(numbers) + len(_BETWEEN)
    word = next((word for word in ("position ", "pos ") if len(word) + len(str(positions)) < room), "p")
    return [(" " * _LEFT + "".join(f"{word}{place + 1}".ljust(room) for place in places)).rstrip(), ruler]
