"""Forward and backward through a perceptron."""

from __future__ import annotations

from normlab.engine.fused.jit import function, within
from normlab.engine.fused.kinds import BATCH, GIVEN, IDENTITY, SAMPLE, TANH_NORM
from normlab.engine.fused.lanes import every, load, store
from normlab.engine.fused.layers import activate, activate_back, multiply, row_sums
from normlab.engine.fused.layout import Layer
from normlab.engine.fused.norms import (
    batch_back,
    batch_forward,
    batch_given,
    row_moments,
    sample_back,
    sample_forward,
    tanh_back,
    tanh_forward,
)
from normlab.engine.fused.products import Matrix, product


@within
def layer_at(table, number):
    """A row of the table of layers by name."""
    t = table[number]
    return Layer(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13], t[14], t[15])


@within
def linear(memory, lay, at, source, n):
    """The linear part of a layer, from its input buffer."""
    i, row = at.inputs, lay.row
    left, right, out = Matrix(at.weight, i, 1), Matrix(source, row, 1), Matrix(at.z, row, 1)
    product(memory, left, right, out, at.outputs, n, i, at.bias, 1)


@within
def before_norm(memory, lay, kinds, at, n):
    """Where the input of a layer's norm lies; with the norm after the activation, it is made there."""
    if not kinds.after:
        return at.z
    activate(memory, kinds.activation, at.z, at.x, at.outputs, lay.row, n, lay.one, 0, lay.zero, 0, lay.spare)
    return at.x


@function
def after_linear(memory, lay, kinds, at, n):
    """Norm and activation of a hidden layer."""
    rows, row, unit, x = at.outputs, lay.row, at.unit, at.x
    source = before_norm(memory, lay, kinds, at, n)
    if kinds.norm == BATCH:
        batch_forward(
            memory, source, x, rows, row, n, kinds.chunk, kinds.eps, at.inverse,
            lay.running_mean + unit, lay.running_variance + unit, kinds.weight,
        )  # fmt: skip
    elif kinds.norm == GIVEN:
        batch_given(memory, source, x, rows, row, n, lay.mean + unit, lay.scale + unit)
    elif kinds.norm == SAMPLE:
        sample_forward(memory, source, x, rows, row, n, kinds.groups, kinds.centred, kinds.eps, at.inverse, lay.scratch)
    elif kinds.norm == TANH_NORM:
        tanh_forward(memory, source, x, rows, row, n, at.alpha)
    last = IDENTITY if kinds.after else kinds.activation
    activate(memory, last, x, at.a, rows, row, n, at.gain, lay.gain_step, at.shift, lay.shift_step, lay.spare)


@function
def forward(memory, lay, table, kinds, source, n):
    """The outputs of ``n`` samples."""
    for number in range(lay.layers - 1):
        at = layer_at(table, number)
        linear(memory, lay, at, source, n)
        after_linear(memory, lay, kinds, at, n)
        if kinds.dropout > 0:
            multiply(memory, at.a, at.mask, at.outputs, lay.row, n)
        source = at.a
    linear(memory, lay, layer_at(table, lay.layers - 1), source, n)


@function
def backward(memory, lay, table, kinds, n):
    """All gradients, from those of the outputs, which lie in the outputs' place."""
    row, last = lay.row, lay.layers - 1
    d, e, spare = layer_at(table, last).z, lay.d, lay.e
    for back in range(lay.layers):
        at = layer_at(table, last - back)
        i, o = at.inputs, at.outputs
        if back > 0:
            _before_linear(memory, lay, kinds, at, d, n)
        source = lay.batch if back == last else layer_at(table, last - back - 1).a
        to = Matrix(lay.grad + at.weight, i, 1)
        product(memory, Matrix(d, row, 1), Matrix(source, 1, row), to, o, i, n, lay.zero, 0)
        row_sums(memory, d, o, row, n, lay.grad + at.bias)
        if back < last:
            product(memory, Matrix(at.weight, 1, i), Matrix(d, row, 1), Matrix(e, row, 1), i, n, o, lay.zero, 0)
        d, e, spare = e, spare, e


@function
def _before_linear(memory, lay, kinds, at, d, n):
    """d <- the gradient of what the linear layer gave."""
    o, row, x = at.outputs, lay.row, at.x
    if kinds.dropout > 0:
        multiply(memory, d, at.mask, o, row, n)
    inside, outside = (kinds.activation, IDENTITY) if kinds.after else (IDENTITY, kinds.activation)
    activate_back(
        memory, outside, x, d, o, row, n, at.gain, lay.gain_step, at.shift, lay.shift_step, at.gain_grad,
        at.shift_grad, lay.spare,
    )  # fmt: skip
    if kinds.norm == BATCH:
        batch_back(memory, d, x, o, row, n, kinds.chunk, at.inverse)
    elif kinds.norm == SAMPLE:
        sample_back(memory, d, x, o, row, n, kinds.groups, kinds.centred, at.inverse, lay.scratch)
    elif kinds.norm == TANH_NORM:
        tanh_back(memory, d, inside, at.z, x, o, row, n, at.alpha, lay.grad + at.alpha, lay.spare)
    if kinds.after:
        activate_back(memory, inside, at.z, d, o, row, n, lay.one, 0, lay.zero, 0, lay.scratch, lay.scratch, lay.spare)


@within
def closed_form(memory, lay, kinds, at, mean, covariance):
    """Population statistics of the first linear layer, from mean and covariance of the inputs: exact."""
    width = at.inputs
    for j in range(at.outputs):
        weight = at.weight + j * width
        centre, variance = load(memory, at.bias + j), every(memory, 0.0)
        for i in range(width):
            w = load(memory, weight + i)
            centre += w * load(mean, i)
            half = every(memory, 0.0)
            for k in range(width):
                half += load(memory, weight + k) * load(covariance, i * width + k)
            variance += w * half
        store(memory, lay.mean + j, centre)
        store(memory, lay.variance + j, variance)


@within
def gather_moments(memory, lay, kinds, at, n, seen):
    """Joins the mean and variance of ``n`` more samples to those of the ``seen`` before, in the given statistics."""
    source, row = before_norm(memory, lay, kinds, at, n), lay.row
    share = n / (seen + n)
    for j in range(at.outputs):
        place = at.unit + j
        mean, variance = row_moments(memory, source + j * row, n)
        if seen > 0:
            old, spread = load(memory, lay.mean + place), load(memory, lay.variance + place)
            apart = mean - old
            variance = spread * (1 - share) + variance * share + apart * apart * (share * (1 - share))
            mean = old + apart * share
        store(memory, lay.mean + place, mean)
        store(memory, lay.variance + place, variance)
