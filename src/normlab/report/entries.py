"""What a norm says of itself, in words by heading, and its drawing in letters."""

from __future__ import annotations

from normlab.figures.facts import Facts
from normlab.figures.shape import Shape
from normlab.figures.tensor import Panel, nothing_in_words, sharing_in_words
from normlab.norms.select import norm_entry
from normlab.norms.spec import NormSpec, value_text
from normlab.records import Layout

SHARED, OTHER = "█", "·"
_TOLD = {  # names of an entry that a heading of its own tells
    *("name", "title", "formula", "source", "layouts", "train", "evaluate", "affine", "state", "initial", "suits"),
    *("breaks", "libraries"),
}


def sections(spec: NormSpec) -> dict[str, str]:
    """What a norm says of itself, by heading."""
    options = [f"{option.name}={value_text(option.default)}  {option.meaning}" for option in spec.options]
    said = {
        "Formula": spec.formula,
        "Source": spec.source,
        "Normalizes over": _over(spec),
        "Couples the batch": "yes, in training" if spec.couples_batch else "no",
        "In training": spec.train,
        "In evaluation": spec.evaluate,
        "Learned": spec.affine,
        "State": spec.state,
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


def _further(spec: NormSpec) -> dict[str, str]:
    """What the entry says beside the headings above: words, and words by name."""
    said: dict[str, str] = {}
    for name, value in norm_entry(spec).items():
        if name in _TOLD:
            continue
        if isinstance(value, dict):
            said[name.capitalize()] = "\n".join(f"{key}: {remark}" for key, remark in value.items())
        elif isinstance(value, str):
            said[name.capitalize()] = value
    return said


def _over(spec: NormSpec) -> str:
    """A line for each of the different things that it normalizes over, with the layouts."""
    lines: dict[str, list[str]] = {}
    for layout in spec.axes:
        lines.setdefault(axes_in_words(spec, layout), []).append(layout)
    return "\n".join(f"{', '.join(layouts)}: {words}" for words, layouts in lines.items())


def on_shape(shape: Shape | None, found: Facts | str | None) -> dict[str, str]:
    """What a norm comes down to on a shape, by heading."""
    if shape is None or found is None:
        return {}
    heading = f"On {shape}"
    if isinstance(found, str):
        return {heading: found}
    lines = [f"{one.words}: {one.sentence}" for one in found.statistics]
    return {
        heading: "\n".join(lines) or "no statistics of activations",
        "Parameters there": f"{found.parameters:,}",
        "Buffers there": f"{found.buffers:,}",
        "Warnings": "\n".join(found.warnings) or "none",
    }


def axes_in_words(spec: NormSpec, layout: Layout) -> str:
    """What shares one statistic on input of that layout.

    >>> from normlab.norms.batch import BATCH
    >>> axes_in_words(BATCH, "NC")
    'all samples of each channel'
    """
    sets = spec.sets(layout)
    return "; ".join(sharing_in_words(layout, axes) for axes in sets) or nothing_in_words(spec)


def draw(panel: Panel) -> str:
    """A panel as text; the elements that share the statistic of the first one are filled.

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
    heading = f"{panel.layout} input, over {', '.join(panel.axes) or 'nothing'}; {SHARED} shares one statistic"
    if not panel.statistics:
        heading = f"{panel.layout} input; no statistic is shared"
    samples, channels, positions = panel.sets.shape
    marks = (panel.sets == 0) & panel.statistics
    lines = [heading, _ruler(channels, positions)]
    for sample in range(samples):
        blocks = (
            " ".join(SHARED if marks[sample, channel, position] else OTHER for channel in range(channels))
            for position in range(positions)
        )
        lines.append(f"  sample {sample + 1}         " + "   ".join(blocks))
    return "\n".join(lines)


def _ruler(channels: int, positions: int) -> str:
    numbers = " ".join(str(channel + 1) for channel in range(channels))
    ruler = " " * 10 + "channels " + "   ".join([numbers] * positions)
    if positions == 1:
        return ruler
    width = len(numbers)
    places = "   ".join(f"position {position + 1}"[:width].ljust(width) for position in range(positions))
    return f"{' ' * 19}{places.rstrip()}\n{ruler}"
