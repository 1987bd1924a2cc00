"""Where everything lies: parameters, statistics and buffers of a perceptron in one memory of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from normlab.engine.fused.lanes import VECTOR_BYTES, lanes
from normlab.engine.fused.norms import BATCH, TANH
from normlab.records import FloatArray

Whole = NDArray[np.int64]
ROOM = 8  # columns beyond the samples, for loops over several columns at once


class Kinds(NamedTuple):
    """What a network is made of."""

    norm: int
    groups: int
    chunk: int  # samples that a batch norm takes together; 0 for the whole batch
    centred: bool
    eps: float
    weight: float  # of the new statistic in the running average
    activation: int
    after: bool  # whether the norm comes after the activation
    loss: int
    dropout: float
    gain: bool  # whether the norm learns a gain, and a shift
    shift: bool
    alpha: float  # where DyT's alpha starts


class Layout(NamedTuple):
    """Places in the memory. Arrays have one entry for each linear layer, the last one being the output."""

    inputs: Whole  # features that come in and go out
    outputs: Whole
    weight: Whole  # offsets into the parameters
    bias: Whole
    end: Whole
    gain: Whole  # places: of learned parameters, or of the numbers one and zero with step 0
    shift: Whole
    gain_grad: Whole
    shift_grad: Whole
    alpha: Whole
    unit: Whole  # hidden units before this layer
    z: Whole  # after the linear layer
    x: Whole  # normalized; the same place as z where z is not needed again
    a: Whole  # what the next layer gets
    inverse: Whole  # 1 / sqrt(variance + eps) of the batch in training
    mask: Whole  # dropout
    parameters: int
    units: int
    row: int  # columns of every buffer
    gain_step: int
    shift_step: int
    theta: int
    grad: int
    first: int
    second: int
    running_mean: int
    running_variance: int
    mean: int  # given statistics, in evaluation
    variance: int
    scale: int
    batch: int  # inputs and wanted outputs of a batch
    wanted: int
    sheet: int  # the same of samples in evaluation
    sheet_wanted: int
    d: int  # gradients on their way back
    e: int
    total: int
    zero: int
    one: int
    spare: int
    loss: int
    right: int
    scratch: int
    size: int


class _Room:
    """Gives out places one after the other."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, count: int) -> int:
        place = self.size
        self.size += count + count % 2  # two numbers fill a cache line
        return place


def make_layout(widths: Sequence[int], kinds: Kinds, columns: int) -> Layout:
    """Places for a network of these widths whose buffers hold ``columns`` samples."""
    row = (columns + ROOM) // 2 * 2 + 1  # odd: rows that begin at multiples of 4096 bytes would evict each other
    parameters = _lay_out_parameters(widths, kinds)
    count, units, widest = int(parameters["end"][-1]), sum(widths[1:-1]), max(widths)
    room = _Room()
    single = {
        name: room.take(size)
        for name, size in (
            *((name, count) for name in ("theta", "grad", "first", "second")),
            *((name, units) for name in ("running_mean", "running_variance", "mean", "variance", "scale")),
            ("batch", widths[0] * row),
            ("wanted", widths[-1] * row),
            ("sheet", widths[0] * row),
            ("sheet_wanted", widths[-1] * row),
            ("d", widest * row),
            ("e", widest * row),
            ("total", row),
            *((name, 1) for name in ("zero", "one", "spare", "loss", "right")),
        )
    }
    scratch = room.take(2 * widest)
    places: dict[str, list[int]] = {name: [] for name in ("z", "x", "a", "inverse", "mask")}
    apart = kinds.after or kinds.norm == TANH
    for width in widths[1:]:
        places["z"].append(room.take(width * row))
        places["x"].append(room.take(width * row) if apart else places["z"][-1])
        places["a"].append(room.take(width * row))
        places["inverse"].append(room.take(_statistics(kinds, width, columns, row)))
        places["mask"].append(room.take(width * row) if kinds.dropout else 0)

    theta, grad = single["theta"], single["grad"]
    gains, shifts = np.asarray(parameters["gain"]), np.asarray(parameters["shift"])
    nowhere = np.zeros_like(gains)
    return Layout(
        inputs=np.asarray(widths[:-1], dtype=np.int64),
        outputs=np.asarray(widths[1:], dtype=np.int64),
        **{name: parameters[name] for name in ("weight", "bias", "end", "unit")},
        gain=theta + gains if kinds.gain else nowhere + single["one"],
        shift=theta + shifts if kinds.shift else nowhere + single["zero"],
        gain_grad=grad + gains if kinds.gain else nowhere + scratch,
        shift_grad=grad + shifts if kinds.shift else nowhere + scratch + widest,
        alpha=parameters["alpha"],
        **{name: np.asarray(values, dtype=np.int64) for name, values in places.items()},
        parameters=count,
        units=units,
        row=row,
        gain_step=int(kinds.gain),
        shift_step=int(kinds.shift),
        **single,
        scratch=scratch,
        size=room.size,
    )


def _lay_out_parameters(widths: Sequence[int], kinds: Kinds) -> dict[str, Whole]:
    """Weight, bias, gain, shift and alpha of each layer in turn."""
    columns: dict[str, list[int]] = {n: [] for n in ("weight", "bias", "gain", "shift", "alpha", "end", "unit")}
    place = unit = 0
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        hidden = number < len(widths) - 2
        columns["unit"].append(unit)
        sizes = {
            "weight": inputs * outputs,
            "bias": outputs,
            "gain": outputs * (hidden and kinds.gain),
            "shift": outputs * (hidden and kinds.shift),
            "alpha": int(hidden and kinds.norm == TANH),
        }
        for name, size in sizes.items():
            columns[name].append(place)
            place += size
        columns["end"].append(place)
        unit += outputs * hidden
    return {name: np.asarray(values, dtype=np.int64) for name, values in columns.items()}


def _statistics(kinds: Kinds, width: int, columns: int, row: int) -> int:
    """How many statistics a layer keeps from forward to backward."""
    if kinds.norm == BATCH:
        return width * (-(-columns // kinds.chunk) if kinds.chunk else 1)
    return kinds.groups * row


def make_memory(layout: Layout, dtype: str) -> FloatArray:
    """A zeroed memory that begins at a cache line."""
    width, line = lanes(dtype), 2 * VECTOR_BYTES
    items = line // np.dtype(dtype).itemsize
    memory = np.zeros(layout.size * width + items, dtype=dtype)
    start = -memory.ctypes.data % line // memory.itemsize
    return memory[start : start + layout.size * width]
