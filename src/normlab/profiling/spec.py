"""What a profile holds: plain frozen data, in seconds and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

SCHEMA = 1


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds.

    >>> Spread.of([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.5, high=2.5)
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of some values, at least one."""
        numbers = list(values)
        low, _, high = quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else numbers * 3
        return cls(median(numbers), low, high)

    @property
    def width(self) -> float:
        """How far the quartiles are apart, as a share of the median; 0 if the median is."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Memory:
    """What a forward and a backward pass need beyond input, parameters and the gradient that arrives.

    Arguments:
        kept: bytes of the output and of what is saved for the backward pass, each storage once, parameters left out.
        saved: those of them that are saved for the backward pass; the input counts if it is saved.
        peak: the most that was allocated at once beyond what there was before, as the GPU's allocator counts it;
            None on the CPU, which does not count.
    """

    kept: int
    saved: int
    peak: int | None = None


@dataclass(frozen=True)
class Cost:
    """What a norm costs on one shape.

    Arguments:
        norm: the norm's text.
        label: its name for tables.
        skipped: why it was not measured; everything below is then empty.
        forward: seconds of a forward pass in training.
        backward: seconds of a backward pass: gradients of input and parameters.
        both: their sum, round by round.
        ratio: ``both`` over that of torch's own BatchNorm in the same round; of a norm that changes weights, over that
            of the same layer with torch's BatchNorm after it.
        bytes_forward: the least traffic of the forward pass: input read, output written; 0 with a layer.
        bytes_backward: the least traffic of the backward pass: the gradient that arrives read, that of the input
            written, and the input read if the gradient depends on it; 0 with a layer.
        floor: seconds that the least traffic takes at the copy bandwidth measured beside it; None with a layer.
        bandwidth_share: the least traffic over ``both``, as a share of that bandwidth.
        memory: bytes that it needs.
        parameters: learned numbers.
        with_layer: whether all of this is of the norm together with the layer whose weights it changes.
        note: what must be known to read the row.
    """

    norm: str
    label: str
    skipped: str = ""
    forward: Spread | None = None
    backward: Spread | None = None
    both: Spread | None = None
    ratio: Spread | None = None
    bytes_forward: int = 0
    bytes_backward: int = 0
    floor: float | None = None
    bandwidth_share: Spread | None = None
    memory: Memory | None = None
    parameters: int = 0
    with_layer: bool = False
    note: str = ""


@dataclass(frozen=True)
class Case:
    """All norms on one shape.

    Arguments:
        shape: the sizes of the axes.
        bytes: of one tensor of that shape.
        rounds: how often every norm was timed.
        copy: bytes read and written per second by a copy into memory that is there already.
        fresh_copy: the same into memory that the copy allocates, which is what a layer's output costs.
        costs: what each norm costs.
        itself: torch's own BatchNorm, timed twice in each round, over itself: how far off a ratio may be.
        warnings: why some of the numbers should not be trusted.
    """

    shape: tuple[int, ...]
    bytes: int
    rounds: int
    copy: Spread
    fresh_copy: Spread
    costs: tuple[Cost, ...]
    itself: Spread | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Speed and memory of norms on shapes.

    Arguments:
        layout: the order of the axes, such as ``NCHW``.
        dtype: the type of tensors and parameters.
        memory_format: ``contiguous`` or ``channels_last``.
        compiled: whether every layer went through ``torch.compile``.
        device: ``cpu`` or a GPU.
        reference: what ratios are to.
        machine: processor, threads and versions.
        cases: what was measured on each shape.
    """

    layout: str
    dtype: str
    memory_format: str
    compiled: bool
    device: str
    reference: str
    machine: Mapping[str, str | int]
    cases: tuple[Case, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the names stay stable within a schema."""
        return {"schema": SCHEMA, "kind": "layers", **asdict(self)}


@dataclass(frozen=True)
class Swapped:
    """What the norms of a model would cost if another one took their places, wherever it fits.

    Arguments:
        norm: the norm's text.
        seconds: of those that it replaces in a step, forward and backward.
        share: of the step that they would be a part of, beside the norms that are left.
        left_out: norms of the model that it cannot replace, with the reason.
    """

    norm: str
    seconds: Spread | None
    share: Spread | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class NormCost:
    """One norm of a model and its part of a step.

    Arguments:
        name: its name in the model; further names of a shared module are in ``also``.
        kind: its class.
        shape: of the input of its first call; empty if it is not called.
        calls: how often a step calls it.
        parameters: learned numbers.
        forward: seconds of all its forward passes in a step.
        backward: seconds of all its backward passes.
        share: forward and backward over the whole step, round by round.
        also: other names of the same module.
        note: why it was not measured, or what must be known of it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    parameters: int
    forward: Spread
    backward: Spread
    share: Spread
    also: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ModelProfile:
    """The norms of a model and their share of a step: forward and backward pass, without the optimizer.

    A step of a frozen model, of which no parameter requires a gradient, is a forward pass alone.

    Arguments:
        model: the model's class, or where it came from.
        inputs: the shapes of its inputs.
        dtype: the type of its parameters, or all of them.
        memory_format: ``contiguous`` for the model's own, or ``channels_last``.
        device: ``cpu`` or a GPU.
        training: whether the model was in training mode.
        backward: whether a step has a backward pass.
        rounds: how often step and norms were timed.
        step: seconds of a step.
        share: of all norms together.
        norms: the cost of each norm, in the model's order.
        swapped: what other norms would cost in their places.
        machine: processor, threads and versions.
        warnings: why some of the numbers should not be trusted.
    """

    model: str
    inputs: tuple[tuple[int, ...], ...]
    dtype: str
    memory_format: str
    device: str
    training: bool
    backward: bool
    rounds: int
    step: Spread
    share: Spread
    norms: tuple[NormCost, ...]
    swapped: tuple[Swapped, ...]
    machine: Mapping[str, str | int]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the names stay stable within a schema."""
        return {"schema": SCHEMA, "kind": "model", **asdict(self)}
