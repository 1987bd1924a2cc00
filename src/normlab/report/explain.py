"""A norm explained in the terminal: what it computes, and a drawing of what shares a statistic."""

from __future__ import annotations

from normlab.norms.spec import NormSpec, value_text
from normlab.records import Layout

SAMPLES, CHANNELS, POSITIONS, GROUPS = 3, 6, 4, 2
SHARED, OTHER = "█", "·"
_WORDS = {
    "N": "all samples of the batch",
    "C": "all channels",
    "C/G": "the channels of one group",
    "L": "all positions",
    "H": "rows",
    "W": "columns",
    "D": "slices",
}


def explain(spec: NormSpec) -> str:
    """The text that ``normlab explain`` prints."""
    options = [f"{option.name}={value_text(option.default)}  {option.meaning}" for option in spec.options]
    sections = {
        "Formula": spec.formula,
        "Source": spec.source,
        "Normalizes over": "\n".join(f"{layout}: {axes_in_words(spec, layout)}" for layout in spec.axes),
        "In training": spec.train,
        "In evaluation": spec.evaluate,
        "Learned": spec.affine,
        "State": spec.state,
        "Options": "\n".join(options) or "none",
        "Suits": spec.suits,
        "Breaks on": spec.breaks,
    }
    body = "\n".join(
        f"{name}\n" + "\n".join(f"  {line}" for line in text.split("\n")) for name, text in sections.items()
    )
    drawings = "\n\n".join(draw(spec, layout) for layout in ("NC", "NCHW", "NLC") if layout in spec.axes)
    return f"{spec.title} ({spec.name})\n\n{body}\n\n{drawings}"


def axes_in_words(spec: NormSpec, layout: Layout) -> str:
    """What shares one statistic on input of that layout.

    >>> from normlab.norms.batch import BATCH
    >>> axes_in_words(BATCH, "NC")
    'all samples of the batch, of each channel'
    """
    axes = spec.axes[layout]
    if not (spec.centred or spec.scaled):
        return "nothing; there are no statistics"
    if not axes:
        return "a single element"
    apart = [word for letter, word in (("N", "each sample"), ("C", "each channel")) if letter not in axes]
    if "C/G" in axes:
        apart.remove("each channel")
    if layout == "NLC" and "L" not in axes:
        apart.append("each position")
    shared = ", ".join(_WORDS[axis] for axis in axes)
    return f"{shared}, of {' and '.join(apart)}" if apart else shared


def draw(spec: NormSpec, layout: Layout) -> str:
    """A small tensor; the elements that share the statistic of its first element are filled.

    >>> from normlab.norms.layer import LAYER
    >>> print(draw(LAYER, "NC"))
    NC input; █ shares one statistic
              channels 1 2 3 4 5 6
      sample 1         █ █ █ █ █ █
      sample 2         · · · · · ·
      sample 3         · · · · · ·
    """
    heading = f"{layout} input; {SHARED} shares one statistic"
    if not (spec.centred or spec.scaled):
        heading = f"{layout} input; no statistic is shared"
    if "C/G" in spec.axes[layout]:
        heading += f" ({GROUPS} groups)"
    positions = 1 if layout == "NC" else POSITIONS
    lines = [heading, _ruler(positions)]
    for sample in range(SAMPLES):
        blocks = (
            " ".join(_mark(spec, layout, sample, channel, position) for channel in range(CHANNELS))
            for position in range(positions)
        )
        lines.append(f"  sample {sample + 1}         " + "   ".join(blocks))
    return "\n".join(lines)


def _ruler(positions: int) -> str:
    channels = " ".join(str(channel + 1) for channel in range(CHANNELS))
    ruler = " " * 10 + "channels " + "   ".join([channels] * positions)
    if positions == 1:
        return ruler
    places = "   ".join(f"position {position + 1}".ljust(len(channels)) for position in range(positions))
    return f"{' ' * 19}{places.rstrip()}\n{ruler}"


def _mark(spec: NormSpec, layout: Layout, sample: int, channel: int, position: int) -> str:
    """Whether an element shares its statistic with the first sample, channel and position."""
    if not (spec.centred or spec.scaled):
        return OTHER
    axes = spec.axes[layout]
    inside_group = "C/G" in axes and channel < CHANNELS // GROUPS
    spatial = bool(set(axes) & set("LHWD"))
    shared = (
        (sample == 0 or "N" in axes) and (channel == 0 or "C" in axes or inside_group) and (position == 0 or spatial)
    )
    return SHARED if shared else OTHER


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
