"""What a norm comes down to on input of a given shape: elements behind each statistic, parameters, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.figures.shape import Shape
from normlab.figures.tensor import sharing_in_words
from normlab.norms.reductions import chunk_count, set_size
from normlab.norms.spec import Norm, with_options
from normlab.records import Layout, Slot

if TYPE_CHECKING:
    from torch import nn

Sizes = Mapping[str, str]  # by name, as in a spec's ``parameters``

FEW_SAMPLES = 16  # the ImageNet error of BatchNorm grows below this many a worker: 1803.08494, figure 5


@dataclass(frozen=True)
class Statistic:
    """One set of axes on input of a given shape.

    Arguments:
        axes: the axes within a set.
        words: what shares one statistic, in words.
        elements: the number of elements behind each statistic.
        count: the number of sets.
        last: the number of elements behind each statistic of the last chunk of the batch, which may hold fewer or more
            samples than the others; ``elements`` without chunks.
    """

    axes: tuple[str, ...]
    words: str
    elements: int
    count: int
    last: int

    @property
    def sentence(self) -> str:
        """The numbers in words."""
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
    """Why the norm has no form for the shape's layout, and what to take in its place, or None.

    Raises:
        InputError: it has one, but its options do not fit the channels.
    """
    if shape.layout not in norm.spec.axes:
        return norm.misfit(shape.slot)
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
        chunks, usual, last = _chunks(norm, axes, shape.batch_size)
        others = tuple(axis for axis in axes if axis != "N/S")
        along = set_size(others, sizes, norm.parts)
        within = {letter for axis in axes for letter in axis.partition("/")[0]}
        groups = prod(norm.parts["G"] for axis in axes if axis.endswith("/G"))
        count = chunks * groups * prod(size for letter, size in sizes.items() if letter not in within)
        words = sharing_in_words(shape.layout, axes)
        found.append(Statistic(axes, words, usual * along, count, last * along))
    return tuple(found)


def _chunks(norm: Norm, axes: tuple[str, ...], samples: int) -> tuple[int, int, int]:
    """The number of chunks of the batch, and the samples in the first and in the last; 1 each without chunks."""
    if "N/S" not in axes:
        return 1, 1, 1
    size = norm.parts["S"]
    count = chunk_count(samples, size)
    last = samples - (count - 1) * size
    return count, size if count > 1 else last, last


def facts(norm: Norm, shape: Shape) -> Facts:
    """What the norm comes down to on that shape, which it must fit.

    >>> from normlab.figures.shape import parse_shape
    >>> from normlab.norms.catalog import parse
    >>> found = facts(parse("batch"), parse_shape("32,64,56,56"))
    >>> found.statistics[0].elements, found.statistics[0].count, found.parameters, found.buffers
    (100352, 64, 128, 129)
    """
    taken = statistics(norm, shape)
    try:
        parameters, buffers = _held(norm, shape.slot)
    except InputError:
        raise
    except Exception as error:
        given = f"{norm} on {shape} ({type(error).__name__}: {error})"
        raise InputError("a norm must be built for the shape", given, "Give another shape or layout.") from error
    return Facts(taken, sum(parameters.values()), sum(buffers.values()), tuple(_warnings(norm, shape, taken)))


def built(norm: Norm) -> tuple[Sizes, Sizes]:
    """The learned parameters and the buffers of the norm with its own options, each with its size.

    >>> from normlab.norms.catalog import parse
    >>> built(parse("batch:affine=false"))[0], built(parse("instance:affine=true"))[0]
    ({}, {'weight': 'C', 'bias': 'C'})
    """
    spec = norm.spec
    switches = [option for option in spec.options if isinstance(option.default, bool)]  # numbers leave the names alike
    switched = any(norm.options[option.name] != option.default for option in switches)
    slot = _slot_that_fits(norm) if switched and spec.wrap is None else None
    if slot is None:
        return spec.parameters, spec.buffers
    usual = _held(with_options(norm.reference, spec, "", norm.reference), slot)
    own = _held(norm, slot)
    sizes = {slot.channels: "C", 1: "1"}
    parameters, buffers = (
        said if before.keys() == now.keys() else {name: said.get(name, sizes.get(n, str(n))) for name, n in now.items()}
        for before, now, said in zip(usual, own, (spec.parameters, spec.buffers), strict=True)
    )
    return parameters, buffers


def _slot_that_fits(norm: Norm) -> Slot | None:
    """A slot that the norm has a form for, in which C is no other number; positions are several where they can be."""
    extents: dict[Layout, tuple[int, ...]] = {"NCHW": (2, 3), "NLC": (5,), "NCL": (5,), "NCDHW": (2, 3, 2), "NC": ()}
    for layout, extent in extents.items():
        slot = Slot(64 * norm.parts.get("G", 1), layout, extent, "layer", "activation")
        if norm.misfit(slot) is None:
            return slot
    return None


def _held(norm: Norm, slot: Slot) -> tuple[dict[str, int], dict[str, int]]:
    """How many numbers each learned parameter and each buffer has, counted on layers without storage.

    Of a norm that changes weights, those that it adds to a linear layer of as many inputs as outputs.
    """
    import torch
    from torch import nn

    with torch.device("meta"):
        parameters, buffers = _counted(norm.build(slot))
        if norm.spec.wrap is not None:
            plain = _counted(nn.Linear(slot.channels, slot.channels))
            changed = _counted(norm.spec.wrap(nn.Linear(slot.channels, slot.channels), norm.options))
            parameters["added"] = sum(changed[0].values()) - sum(plain[0].values())
            buffers["added"] = sum(changed[1].values()) - sum(plain[1].values())
    return parameters, buffers


def _counted(layer: nn.Module) -> tuple[dict[str, int], dict[str, int]]:
    return (
        {name: parameter.numel() for name, parameter in layer.named_parameters()},
        {name: buffer.numel() for name, buffer in layer.named_buffers()},
    )


def _warnings(norm: Norm, shape: Shape, taken: tuple[Statistic, ...]) -> list[str]:
    slot, batch = shape.slot, shape.batch_size
    judged = (norm.refusal(slot, batch), norm.emptiness(slot, batch), norm.caution(slot, batch))
    found = [reason for reason in judged if reason]
    if not found and norm.spec.single is None and norm.elements(slot, batch) == 1:
        found.append(f"{norm} has one element behind each statistic: every output depends on its own element alone")
    if found or not norm.spec.couples_batch:
        return found
    shared = [one for one in taken if one.over_batch]
    smallest = min(shared, key=lambda one: min(one.elements, one.last), default=None)
    few = min(smallest.elements, smallest.last) if smallest else 2 * FEW_SAMPLES
    _, *chunks = _chunks(norm, smallest.axes, batch) if smallest else (1, 1, 1)
    samples = min(chunks) if smallest and "N/S" in smallest.axes else batch
    where = " in the last chunk" if chunks[-1] < chunks[0] else ""
    if few < 2 * FEW_SAMPLES:
        off = _off(norm, few)
        found.append(f"only {few} elements of the batch behind each statistic{where}{off}")
    elif samples < FEW_SAMPLES:
        found.append(
            f"only {samples} samples share statistics{where}: positions of one sample are alike and count for few "
            "independent elements, so the statistics differ from batch to batch"
        )
    return found


def _off(norm: Norm, elements: int) -> str:
    """How far the statistics that the norm takes are off with that many elements."""
    mean = f"the mean is off by {1 / sqrt(elements):.0%} of a standard deviation" if norm.spec.centred else ""
    verb = "" if mean else "is off "
    variance = f"the variance {verb}by {sqrt(2 / elements):.0%}" if norm.spec.scaled else ""
    said = " and ".join(part for part in (mean, variance) if part)
    return f": even if they are independent, {said}" if said else ""
