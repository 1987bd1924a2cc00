"""Forward and backward through a perceptron whose parameters lie in one flat array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from normlab.engine.fused.layers import FAST, activate, activate_back
from normlab.engine.fused.norms import (
    BATCH,
    NONE,
    ROOT,
    batch_back,
    batch_forward,
    batch_given,
    row_moments,
    sample_back,
    sample_forward,
)
from normlab.engine.fused.tiles import WIDTH, dots, product
from normlab.records import FloatArray

Whole = NDArray[np.int64]


class Shape(NamedTuple):
    """Sizes of the layers and where their parts lie; one entry for each linear layer, the last one being the output."""

    inputs: Whole
    outputs: Whole
    weight: Whole  # offsets into the flat parameters
    bias: Whole
    gain: Whole
    end: Whole
    unit: Whole  # hidden units before this layer
    parameters: int
    units: int
    widest: int


class Kinds(NamedTuple):
    """What a network is made of."""

    norm: int
    groups: int
    eps: float
    affine: bool
    activation: int


class Space(NamedTuple):
    """Buffers for ``row`` samples: one row for each feature, one column for each sample."""

    inputs: FloatArray
    z: FloatArray  # after the linear layer; one layer at a time
    x: FloatArray  # normalized
    u: FloatArray  # before the activation
    a: FloatArray  # after the activation
    logits: FloatArray
    d: FloatArray  # gradients on their way back
    e: FloatArray
    inverse: FloatArray  # 1 / sqrt(variance + eps): for each unit, or for each group and sample
    mean: FloatArray
    variance: FloatArray
    peak: FloatArray
    total: FloatArray
    zero: FloatArray
    targets: Whole
    row: int


def padded(count: int) -> int:
    """``count`` rounded up to whole blocks."""
    return -(-count // WIDTH) * WIDTH


def make_shape(widths: Sequence[int], gain: bool, shift: bool) -> Shape:
    """Lays out the parameters: weight, bias, gain and shift of each layer in turn."""
    columns: dict[str, list[int]] = {name: [] for name in ("weight", "bias", "gain", "end", "unit")}
    place = unit = 0
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        hidden = number < len(widths) - 2
        columns["weight"].append(place)
        columns["bias"].append(place + inputs * outputs)
        columns["gain"].append(place + (inputs + 1) * outputs)
        place += (inputs + 1 + (gain + shift) * hidden) * outputs
        columns["end"].append(place)
        columns["unit"].append(unit)
        unit += outputs * hidden
    return Shape(
        inputs=np.asarray(widths[:-1], dtype=np.int64),
        outputs=np.asarray(widths[1:], dtype=np.int64),
        **{name: np.asarray(values, dtype=np.int64) for name, values in columns.items()},
        parameters=place,
        units=unit,
        widest=max(widths),
    )


def make_space(shape: Shape, kinds: Kinds, samples: int, dtype: str) -> Space:
    """Zeroed buffers for ``samples`` samples."""
    row = padded(samples)
    hidden = len(shape.inputs) - 1

    def buffer(rows: int) -> FloatArray:
        return np.zeros(rows * row, dtype=dtype)

    return Space(
        inputs=buffer(int(shape.inputs[0])),
        z=buffer(shape.widest),
        x=buffer(shape.units),
        u=buffer(shape.units),
        a=buffer(shape.units),
        logits=buffer(int(shape.outputs[-1])),
        d=buffer(shape.widest),
        e=buffer(shape.widest),
        inverse=np.zeros(max(shape.units, hidden * kinds.groups * row), dtype=dtype),
        mean=np.zeros(max(shape.units, row), dtype=dtype),
        variance=np.zeros(max(shape.units, 1), dtype=dtype),
        peak=buffer(1),
        total=buffer(1),
        zero=np.zeros(1, dtype=dtype),
        targets=np.zeros(row, dtype=np.int64),
        row=row,
    )


@njit(cache=True, fastmath=FAST)
def forward(shape, kinds, theta, space, inputs, in0, in_row, n, given, mean, inverse):  # type: ignore
    """Logits of ``n`` samples. With ``given``, norms over the batch use ``mean`` and ``inverse``; else the batch's own."""
    row = space.row
    wide = -(-n // WIDTH) * WIDTH
    source, s0, s_row = inputs, in0, in_row
    last = len(shape.inputs) - 1
    for layer in range(last):
        i, o = shape.inputs[layer], shape.outputs[layer]
        w, b, g = shape.weight[layer], shape.bias[layer], shape.gain[layer]
        unit = shape.unit[layer]
        h = unit * row
        if kinds.norm == NONE:
            product(theta, w, i, 1, o, source, s0, s_row, wide, space.u, h, row, theta, b, 1, i)
        else:
            product(theta, w, i, 1, o, source, s0, s_row, wide, space.z, 0, row, theta, b, 1, i)
            _normalize(kinds, theta, g, g + o, space, layer, unit, o, n, given, mean, inverse)
        activate(kinds.activation, space.u, h, space.a, h, o, row, n)
        source, s0, s_row = space.a, h, row
    i, o = shape.inputs[last], shape.outputs[last]
    w, b = shape.weight[last], shape.bias[last]
    product(theta, w, i, 1, o, source, s0, s_row, wide, space.logits, 0, row, theta, b, 1, i)


@njit(cache=True, fastmath=FAST)
def _normalize(kinds, theta, gain, shift, space, layer, unit, rows, n, given, mean, inverse):  # type: ignore
    row = space.row
    h = unit * row
    if kinds.norm == BATCH:
        if given:
            batch_given(
                space.z, 0, space.u, h, rows, row, n, mean, inverse, unit, theta, gain, theta, shift, kinds.affine
            )
        else:
            batch_forward(
                space.z, 0, space.x, h, space.u, h, rows, row, n, space.mean, space.inverse, space.variance, unit,
                kinds.eps, theta, gain, theta, shift, kinds.affine,
            )  # fmt: skip
    else:
        centred = kinds.norm != ROOT
        sample_forward(
            space.z, 0, space.x, h, space.u, h, rows, row, n, kinds.groups, centred, space.inverse,
            layer * kinds.groups * row, kinds.eps, theta, gain, theta, shift, kinds.affine, kinds.affine and centred,
            space.peak,
        )  # fmt: skip


@njit(cache=True, fastmath=FAST)
def backward(shape, kinds, theta, grad, space, inputs, in0, in_row, n):  # type: ignore
    """All gradients, from those of the logits, which lie in ``space.logits`` and are 0 beyond ``n`` columns."""
    row = space.row
    wide = -(-n // WIDTH) * WIDTH
    d, e, spare = space.logits, space.d, space.e
    last = len(shape.inputs) - 1
    for back in range(last + 1):
        layer = last - back
        i, o = shape.inputs[layer], shape.outputs[layer]
        w, b = shape.weight[layer], shape.bias[layer]
        if layer != last:
            _through_norm(shape, kinds, theta, grad, space, layer, d, n, wide)
        if layer == 0:
            dots(d, 0, row, o, inputs, in0, in_row, i, grad, w, i, wide)
        else:
            below = shape.unit[layer - 1] * row
            dots(d, 0, row, o, space.a, below, row, i, grad, w, i, wide)
            product(theta, w, 1, i, i, d, 0, row, wide, e, 0, row, space.zero, 0, 0, o)
        for j in range(o):
            total = grad.dtype.type(0)
            for k in range(n):
                total += d[j * row + k]
            grad[b + j] = total
        d, e, spare = e, spare, e


@njit(cache=True, fastmath=FAST)
def _through_norm(shape, kinds, theta, grad, space, layer, d, n, wide):  # type: ignore
    row = space.row
    o, g, unit = shape.outputs[layer], shape.gain[layer], shape.unit[layer]
    h = unit * row
    activate_back(kinds.activation, space.u, h, space.a, h, d, o, row, n)
    if kinds.norm == BATCH:
        batch_back(d, space.x, h, o, row, n, wide, space.inverse, unit, theta, g, grad, kinds.affine)
    elif kinds.norm != NONE:
        centred = kinds.norm != ROOT
        sample_back(
            d, space.x, h, o, row, n, kinds.groups, centred, space.inverse, layer * kinds.groups * row, theta, g, grad,
            kinds.affine, kinds.affine and centred, space.peak, space.total,
        )  # fmt: skip


@njit(cache=True, fastmath=FAST)
def whole_pass(shape, kinds, theta, space, inputs, in0, in_row, n, mean, inverse):  # type: ignore
    """Logits of a whole set normalized over itself, layer by layer; leaves its statistics in ``mean``, ``inverse``."""
    row = space.row
    wide = -(-n // WIDTH) * WIDTH
    source, s0, s_row = inputs, in0, in_row
    here, there = space.z, space.d
    last = len(shape.inputs) - 1
    for layer in range(last):
        i, o = shape.inputs[layer], shape.outputs[layer]
        w, b, g, unit = shape.weight[layer], shape.bias[layer], shape.gain[layer], shape.unit[layer]
        product(theta, w, i, 1, o, source, s0, s_row, wide, here, 0, row, theta, b, 1, i)
        for j in range(o):
            m, v = row_moments(here, j * row, n)
            mean[unit + j] = m
            inverse[unit + j] = theta.dtype.type(1) / math.sqrt(v + theta.dtype.type(kinds.eps))
        batch_given(here, 0, here, 0, o, row, n, mean, inverse, unit, theta, g, theta, g + o, kinds.affine)
        activate(kinds.activation, here, 0, here, 0, o, row, n)
        source, s0, s_row = here, 0, row
        here, there = there, here
    i, o = shape.inputs[last], shape.outputs[last]
    product(
        theta, shape.weight[last], i, 1, o, source, s0, s_row, wide, space.logits, 0, row, theta, shape.bias[last], 1, i
    )
