"""What a norm comes down to on input of a given shape: elements behind each statistic, parameters, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING

from normlab.errors import InputError, describe_error
from normlab.explanation.panels import describe_sharing
from normlab.explanation.shape import Shape
from normlab.norms.reductions import chunk_count, set_size
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm, with_options

if TYPE_CHECKING:
    from torch import nn

Sizes = Mapping[str, str]  # by name, as in a spec's ``parameters``

FEW_SAMPLES = 16  # the ImageNet error of BatchNorm grows below this many a worker: 1803.08494, figure 5


@dataclass(frozen=True)
class Statistic:
    """One set of axes on input of a given shape.

    Arguments:
        axes: the axes within a set.
        sharing: what shares one statistic, as a phrase.
        elements: the number of elements behind each statistic.
        count: the number of sets.
        last: the number of elements behind each statistic of the last chunk of the batch, which may hold fewer or more
            samples than the others; without chunks it is ``elements``.
    """

    axes: tuple[str, ...]
    sharing: str
    elements: int
    count: int
    last: int

    @property
    def sentence(self) -> str:
        """The numbers as a phrase."""
        uneven = f" (the last chunk: {self.last:,})" if self.last != self.elements else ""
        return f"{self.elements:,} element{'s' if self.elements != 1 else ''}{uneven} behind each of {self.count:,}"

    @property
    def over_batch(self) -> bool:
        """Whether several samples share it."""
        return any("N" in axis.partition("/")[0] for axis in self.axes)


@dataclass(frozen=True)
class Facts:
    """A norm on input of a given shape.

    Arguments:
        statistics: one for each set of axes; empty without statistics.
        parameters: how many numbers it learns; for a norm that changes weights, how many it adds to a linear layer of
            as many inputs as outputs.
        buffers: how many numbers it keeps in buffers.
        warnings: what a user must know of the norm on that shape.
    """

    statistics: tuple[Statistic, ...]
    parameters: int
    buffers: int
    warnings: tuple[str, ...]


def misfit(norm: Norm, shape: Shape) -> str | None:
    """Why the norm does not take the shape's layout, and which norm to use instead; None if it takes it.

    Raises:
        InputError: it takes the layout, but its options do not fit the channels.
    """
    if shape.layout not in norm.spec.axes:
        return norm.misfit(shape.slot)
    if reason := norm.spec.refuse(shape.slot, norm.options):
        raise InputError("a norm must fit the shape", f"{norm} on {shape}", f"{reason[0].upper()}{reason[1:]}.")
    return None


def statistics(norm: Norm, shape: Shape) -> tuple[Statistic, ...]:
    """The statistics that the norm takes on that shape, which it must fit.

    >>> from normlab.explanation.shape import parse_shape
    >>> from normlab.norms.catalog import parse
    >>> [statistic.sentence for statistic in statistics(parse("batch"), parse_shape("32,64,56,56"))]
    ['100,352 elements behind each of 64']
    """
    return tuple(_statistic(norm, shape, axes) for axes in norm.spec.sets(shape.layout))


def _statistic(norm: Norm, shape: Shape, axes: tuple[str, ...]) -> Statistic:
    sizes = shape.by_axis
    chunks = _chunks(norm, axes, shape.batch_size)
    elements = set_size(tuple(axis for axis in axes if axis != "N/S"), sizes, norm.parts)  # of a sample if in chunks
    letters = {letter for axis in axes for letter in axis.partition("/")[0]}
    groups = prod(norm.parts["G"] for axis in axes if axis.endswith("/G"))
    count = chunks.count * groups * prod(size for letter, size in sizes.items() if letter not in letters)
    sharing = describe_sharing(shape.layout, axes)
    return Statistic(axes, sharing, chunks.first * elements, count, chunks.last * elements)


@dataclass(frozen=True)
class _Chunks:
    """The number of chunks of the batch, and the samples in the first and in the last; 1 each without chunks."""

    count: int = 1
    first: int = 1
    last: int = 1


def _chunks(norm: Norm, axes: tuple[str, ...], samples: int) -> _Chunks:
    if "N/S" not in axes:
        return _Chunks()
    size = norm.parts["S"]
    count = chunk_count(samples, size)
    last = samples - (count - 1) * size
    return _Chunks(count, size if count > 1 else last, last)


def facts_of(norm: Norm, shape: Shape) -> Facts:
    """What the norm comes down to on that shape, which it must fit.

    >>> from normlab.explanation.shape import parse_shape
    >>> from normlab.norms.catalog import parse
    >>> on_images = facts_of(parse("batch"), parse_shape("32,64,56,56"))
    >>> on_images.statistics[0].elements, on_images.statistics[0].count, on_images.parameters, on_images.buffers
    (100352, 64, 128, 129)
    """
    try:
        parameters, buffers = _count_numbers(norm, shape.slot)
    except InputError:
        raise
    except Exception as error:
        given = f"{norm} on {shape} ({describe_error(error)})"
        raise InputError("a norm must be built for the shape", given, "Give another shape or layout.") from error
    on_shape = statistics(norm, shape)
    return Facts(on_shape, sum(parameters.values()), sum(buffers.values()), tuple(_warnings(norm, shape, on_shape)))


def parameters_and_buffers(norm: Norm) -> tuple[Sizes, Sizes]:
    """The learned parameters and the buffers of the norm with its options, each with its size.

    >>> from normlab.norms.catalog import parse
    >>> parameters_and_buffers(parse("batch:affine=false"))[0], parameters_and_buffers(parse("instance:affine=true"))[0]
    ({}, {'weight': 'C', 'bias': 'C'})
    """
    spec = norm.spec
    switches = [option for option in spec.options if isinstance(option.default, bool)]  # numbers leave the names alike
    switched = any(norm.options[option.name] != option.default for option in switches)
    slot = _fitting_slot(norm) if switched and spec.wrap is None else None
    if slot is None:
        return spec.parameters, spec.buffers
    by_default = _count_numbers(with_options(norm.reference, spec, "", norm.reference), slot)
    with_switches = _count_numbers(norm, slot)
    parameters, buffers = (
        entry if before.keys() == after.keys() else _symbols(after, entry, slot.channels)
        for before, after, entry in zip(by_default, with_switches, (spec.parameters, spec.buffers), strict=True)
    )
    return parameters, buffers


def _symbols(counts: Mapping[str, int], entry: Sizes, channels: int) -> dict[str, str]:
    """Sizes by name: as the entry states them; where it has no such name, told by the count."""
    letters = {channels: "C"}
    return {name: entry.get(name, letters.get(count, str(count))) for name, count in counts.items()}


def _fitting_slot(norm: Norm) -> Slot | None:
    """A slot that the norm takes, with more than one position if it can, and a number of channels like no other."""
    extents: dict[Layout, tuple[int, ...]] = {"NCHW": (2, 3), "NLC": (5,), "NCL": (5,), "NCDHW": (2, 3, 2), "NC": ()}
    for layout, extent in extents.items():
        slot = Slot(64 * norm.parts.get("G", 1), layout, extent, "layer", "activation")
        if norm.misfit(slot) is None:
            return slot
    return None


def _count_numbers(norm: Norm, slot: Slot) -> tuple[dict[str, int], dict[str, int]]:
    """How many numbers each learned parameter and each buffer has, counted on layers without storage.

    Of a norm that changes weights, those that it adds to a linear layer of as many inputs as outputs.
    """
    import torch
    from torch import nn

    with torch.device("meta"):
        parameters, buffers = _numbers_of(norm.build(slot))
        if norm.spec.wrap is not None:
            before = _numbers_of(nn.Linear(slot.channels, slot.channels))
            after = _numbers_of(norm.spec.wrap(nn.Linear(slot.channels, slot.channels), norm.options))
            parameters["added"] = sum(after[0].values()) - sum(before[0].values())
            buffers["added"] = sum(after[1].values()) - sum(before[1].values())
    return parameters, buffers


def _numbers_of(layer: nn.Module) -> tuple[dict[str, int], dict[str, int]]:
    return (
        {name: parameter.numel() for name, parameter in layer.named_parameters()},
        {name: buffer.numel() for name, buffer in layer.named_buffers()},
    )


def _warnings(norm: Norm, shape: Shape, on_shape: tuple[Statistic, ...]) -> list[str]:
    slot, batch = shape.slot, shape.batch_size
    reasons = (norm.refusal(slot, batch), norm.emptiness(slot, batch), norm.caution(slot, batch))
    warnings = [reason for reason in reasons if reason]
    if not warnings and norm.spec.single is None and norm.elements(slot, batch) == 1:
        warnings.append(f"{norm} has one element behind each statistic: every output depends on its own element alone")
    if warnings or not norm.spec.couples_batch:
        return warnings
    warning = _warning_of_few_samples(norm, batch, [statistic for statistic in on_shape if statistic.over_batch])
    return [warning] if warning else []


def _warning_of_few_samples(norm: Norm, batch: int, over_batch: list[Statistic]) -> str | None:
    """Why the statistics of a batch differ from batch to batch, if they rest on few elements or samples."""
    smallest = min(over_batch, key=lambda statistic: min(statistic.elements, statistic.last), default=None)
    chunks = _chunks(norm, smallest.axes, batch) if smallest else _Chunks()
    where = " in the last chunk" if chunks.last < chunks.first else ""
    if smallest and (elements := min(smallest.elements, smallest.last)) < 2 * FEW_SAMPLES:
        return f"only {elements} elements of the batch behind each statistic{where}{_sampling_error(norm, elements)}"
    samples = min(chunks.first, chunks.last) if smallest and "N/S" in smallest.axes else batch
    if samples < FEW_SAMPLES:
        return (
            f"only {samples} samples share statistics{where}: positions of one sample are alike and count for few "
            "independent elements, so the statistics differ from batch to batch"
        )
    return None


def _sampling_error(norm: Norm, elements: int) -> str:
    """How far off the norm's statistics are with that many elements, as the end of a sentence."""
    mean = f"the mean is off by {1 / sqrt(elements):.0%} of a standard deviation" if norm.spec.centred else ""
    verb = "" if mean else "is off "
    variance = f"the variance {verb}by {sqrt(2 / elements):.0%}" if norm.spec.scaled else ""
    errors = " and ".join(filter(None, (mean, variance)))
    return f": even if they are independent, {errors}" if errors else ""
