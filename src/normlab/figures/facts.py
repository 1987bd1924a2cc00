"""What a norm comes down to on input of a given shape: elements behind each statistic, parameters, warnings."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from normlab.errors import InputError
from normlab.figures.shape import Shape
from normlab.figures.tensor import sharing_in_words
from normlab.norms.sets import set_size
from normlab.norms.spec import Norm

FEW_SAMPLES = 16  # the ImageNet error of BatchNorm grows below this many a worker: 1803.08494, figure 5


@dataclass(frozen=True)
class Statistic:
    """One set of axes on input of a given shape.

    Arguments:
        axes: the axes within a set.
        words: what shares one statistic, in words.
        elements: the number of elements behind each statistic.
        count: the number of sets.
    """

    axes: tuple[str, ...]
    words: str
    elements: int
    count: int

    @property
    def sentence(self) -> str:
        """The two numbers in words."""
        return f"{self.elements:,} element{'s' if self.elements != 1 else ''} behind each of {self.count:,}"


@dataclass(frozen=True)
class Facts:
    """A norm on input of a given shape.

    Arguments:
        statistics: one for each set of axes; empty without statistics.
        parameters: the number of learned numbers; for a norm that changes weights, those that it adds to a linear
            layer of as many inputs as outputs.
        buffers: the number of numbers that it keeps beside them.
        warnings: what a user must know of the norm on that shape.
    """

    statistics: tuple[Statistic, ...]
    parameters: int
    buffers: int
    warnings: tuple[str, ...]


def misfit(norm: Norm, shape: Shape) -> str | None:
    """Why the norm has no form for the shape's layout, or None.

    Raises:
        InputError: it has one, but its options do not fit the channels.
    """
    if shape.layout not in norm.spec.axes:
        return f"{norm} has no form for {shape.layout} input; it takes {', '.join(norm.spec.axes)}"
    if reason := norm.spec.refuse(shape.slot, norm.options):
        raise InputError("a norm must fit the shape", f"{norm} on {shape}", f"{reason[0].upper()}{reason[1:]}.")
    return None


def statistics(norm: Norm, shape: Shape) -> tuple[Statistic, ...]:
    """The statistics that the norm takes on that shape, which it must fit.

    >>> from normlab.figures.shape import parse_shape
    >>> from normlab.norms.catalog import parse
    >>> [one.sentence for one in statistics(parse("batch"), parse_shape("32,64,56,56"))]
    ['100,352 elements behind each of 64']
    """
    sizes = dict(zip(shape.layout, shape.sizes, strict=True))
    found = []
    for axes in norm.spec.sets(shape.layout):
        elements = set_size(axes, sizes, norm.parts)
        words = sharing_in_words(shape.layout, axes)
        found.append(Statistic(axes, words, elements, shape.elements // max(elements, 1)))
    return tuple(found)


def facts(norm: Norm, shape: Shape) -> Facts:
    """What the norm comes down to on that shape, which it must fit.

    >>> from normlab.figures.shape import parse_shape
    >>> from normlab.norms.catalog import parse
    >>> found = facts(parse("batch"), parse_shape("32,64,56,56"))
    >>> found.statistics[0].elements, found.statistics[0].count, found.parameters, found.buffers
    (100352, 64, 128, 129)
    """
    taken = statistics(norm, shape)
    parameters, buffers = _held(norm, shape)
    return Facts(taken, parameters, buffers, tuple(_warnings(norm, shape, taken)))


def _held(norm: Norm, shape: Shape) -> tuple[int, int]:
    """The numbers of learned and kept numbers, counted on layers without storage."""
    import torch
    from torch import nn

    def counted(layer: nn.Module) -> tuple[int, int]:
        return (
            sum(parameter.numel() for parameter in layer.parameters()),
            sum(buffer.numel() for buffer in layer.buffers()),
        )

    channels = shape.slot.channels
    with torch.device("meta"):
        try:
            parameters, buffers = counted(norm.build(shape.slot))
        except Exception as error:
            given = f"{norm} on {shape} ({type(error).__name__}: {error})"
            raise InputError("a norm must be built for the shape", given, "Give another shape or layout.") from error
        if norm.spec.wrap is not None:
            plain = counted(nn.Linear(channels, channels))
            changed = nn.Linear(channels, channels)
            held = counted(norm.spec.wrap(changed, norm.options))
            parameters, buffers = parameters + held[0] - plain[0], buffers + held[1] - plain[1]
    return parameters, buffers


def _warnings(norm: Norm, shape: Shape, taken: tuple[Statistic, ...]) -> list[str]:
    slot, batch = shape.slot, shape.batch_size
    judged = (norm.refusal(slot, batch), norm.emptiness(slot, batch), norm.caution(slot, batch))
    found = [reason for reason in judged if reason]
    if found or not norm.spec.couples_batch:
        return found
    few = min((one.elements for one in taken if "N" in one.axes), default=None)
    if few is not None and few < 2 * FEW_SAMPLES:
        found.append(
            f"only {few} elements of the batch behind each statistic: even if they are independent, the mean is off by "
            f"{1 / sqrt(few):.0%} of a standard deviation and the variance by {sqrt(2 / few):.0%}"
        )
    elif batch < FEW_SAMPLES:
        found.append(
            f"only {batch} samples share statistics: positions of one sample are alike and count for few independent "
            "elements, so the statistics differ from batch to batch"
        )
    return found
