"""Where everything lies: parameters, statistics and buffers of a perceptron in one memory of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from normlab.engine.fused.kinds import BATCH, TANH_NORM, Kinds
from normlab.engine.fused.lanes import VECTOR_BYTES, lanes

FloatArray = NDArray[np.floating[Any]]
Whole = NDArray[np.int64]


class Layer(NamedTuple):
    """Sizes of a linear layer and of what follows it, and where its numbers lie."""

    inputs: int
    outputs: int
    weight: int
    bias: int
    gain: int  # learned parameters, or the numbers one and zero with step 0
    shift: int
    alpha: int  # DyT's
    end: int  # of the parameters
    unit: int  # hidden units before this layer
    z: int  # after the linear layer
    x: int  # normalized; the same place as z where z is not needed again
    a: int  # what the next layer gets
    inverse: int  # 1 / sqrt(variance + eps) of the batch in training
    mask: int  # dropout
    gain_grad: int
    shift_grad: int


class Layout(NamedTuple):
    """Where the rest lies, and the sizes that all layers share."""

    layers: int
    parameters: int
    units: int
    row: int  # columns of every buffer
    gain_step: int
    shift_step: int
    grad: int  # from a parameter to its gradient, and to its moments
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
    rate: int  # of the optimizer's step, and its factor and summand of what decays
    shrink: int
    pull: int
    scratch: int
    size: int


class _Places:
    """Gives out places one after the other."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, count: int) -> int:
        place = self.size
        self.size += count
        return place


def make_layout(widths: Sequence[int], kinds: Kinds, columns: int) -> tuple[Layout, Whole]:
    """Places for a network of these widths whose buffers hold ``columns`` samples: the shared ones, and a row a layer.

    The parameters come first in the memory, then in the same order their gradients and moments.
    """
    row = columns // 2 * 2 + 1  # odd: rows that begin at multiples of 4096 bytes would evict each other
    widest, units = max(widths), sum(widths[1:-1])
    places = _Places()
    parameters = _lay_out_parameters(widths, kinds, places)
    count = places.size
    single = {
        name: places.take(size)
        for name, size in (
            *((name, count) for name in ("grad", "first", "second")),
            *((name, units) for name in ("running_mean", "running_variance", "mean", "variance", "scale")),
            ("batch", widths[0] * row),
            ("wanted", widths[-1] * row),
            ("sheet", widths[0] * row),
            ("sheet_wanted", widths[-1] * row),
            ("d", widest * row),
            ("e", widest * row),
            ("total", row),
            *((name, 1) for name in ("zero", "one", "spare", "loss", "right", "rate", "shrink", "pull")),
            ("scratch", 2 * max(widest, row)),
        )
    }
    apart = kinds.after or kinds.norm == TANH_NORM
    layers: list[Layer] = []
    for sizes in parameters:
        width = sizes["outputs"]
        z = places.take(width * row)
        layers.append(
            Layer(
                **{
                    **sizes,
                    "gain": sizes["gain"] if kinds.gain else single["one"],
                    "shift": sizes["shift"] if kinds.shift else single["zero"],
                },
                z=z,
                x=places.take(width * row) if apart else z,
                a=places.take(width * row),
                inverse=places.take(_statistics(kinds, width, columns, row)),
                mask=places.take(width * row) if kinds.dropout else 0,
                gain_grad=single["grad"] + sizes["gain"] if kinds.gain else single["scratch"],
                shift_grad=single["grad"] + sizes["shift"] if kinds.shift else single["scratch"] + widest,
            )
        )
    layout = Layout(
        layers=len(layers),
        parameters=count,
        units=units,
        row=row,
        gain_step=int(kinds.gain),
        shift_step=int(kinds.shift),
        **single,
        size=places.size,
    )
    return layout, np.asarray(layers, dtype=np.int64)


def _lay_out_parameters(widths: Sequence[int], kinds: Kinds, places: _Places) -> list[dict[str, int]]:
    """Weight, bias, gain, shift and alpha of each layer in turn."""
    layers: list[dict[str, int]] = []
    unit = 0
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        hidden = number < len(widths) - 2
        layers.append(
            {
                "inputs": inputs,
                "outputs": outputs,
                "unit": unit,
                "weight": places.take(inputs * outputs),
                "bias": places.take(outputs),
                "gain": places.take(outputs * (hidden and kinds.gain)),
                "shift": places.take(outputs * (hidden and kinds.shift)),
                "alpha": places.take(int(hidden and kinds.norm == TANH_NORM)),
                "end": places.size,
            }
        )
        unit += outputs * hidden
    return layers


def _statistics(kinds: Kinds, width: int, columns: int, row: int) -> int:
    """How many statistics a layer keeps from forward to backward."""
    if kinds.norm == BATCH:
        return width * (-(-columns // kinds.chunk) if kinds.chunk else 1)
    return kinds.groups * row


def make_memory(numbers: int, dtype: str) -> FloatArray:
    """A zeroed memory for so many numbers, which begins at a cache line."""
    size, line = numbers * lanes(dtype), 2 * VECTOR_BYTES
    items = line // np.dtype(dtype).itemsize
    memory = np.zeros(size + items, dtype=dtype)
    start = -memory.ctypes.data % line // memory.itemsize
    return memory[start : start + size]


def numbers_of(values: FloatArray, dtype: str) -> FloatArray:
    """A memory of numbers from values whose first axis is that of the lanes, or has one element for all of them."""
    memory = make_memory(values[0].size, dtype)
    memory.reshape(*values.shape[1:], -1)[...] = np.moveaxis(values, 0, -1)
    return memory
