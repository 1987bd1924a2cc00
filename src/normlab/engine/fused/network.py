"""Forward and backward through a perceptron."""

from __future__ import annotations

from numba import njit

from normlab.engine.fused.lanes import every, load, store
from normlab.engine.fused.layers import IDENTITY, activate, activate_back, multiply, row_sums
from normlab.engine.fused.norms import (
    BATCH,
    SAMPLE,
    TANH,
    batch_back,
    batch_forward,
    batch_given,
    inverse_root,
    row_moments,
    sample_back,
    sample_forward,
    tanh_back,
    tanh_forward,
)
from normlab.engine.fused.products import Matrix, product


@njit(cache=True)
def linear(memory, lay, layer, source, n):  # type: ignore
    """The linear part of a layer, from its input buffer."""
    i, o, row = lay.inputs[layer], lay.outputs[layer], lay.row
    weight, bias = lay.theta + lay.weight[layer], lay.theta + lay.bias[layer]
    product(memory, Matrix(weight, i, 1), Matrix(source, row, 1), Matrix(lay.z[layer], row, 1), o, n, i, bias, 1)


@njit(cache=True)
def before_norm(memory, lay, kinds, layer, n):  # type: ignore
    """Where the input of a layer's norm lies; with the norm after the activation, it is made there."""
    if not kinds.after:
        return lay.z[layer]
    z, x, o = lay.z[layer], lay.x[layer], lay.outputs[layer]
    activate(memory, kinds.activation, z, x, o, lay.row, n, lay.one, 0, lay.zero, 0, lay.spare)
    return x


@njit(cache=True)
def after_linear(memory, lay, kinds, layer, n, training):  # type: ignore
    """Norm and activation of a hidden layer; in evaluation, norms over the batch use the given statistics."""
    o, row, unit, x = lay.outputs[layer], lay.row, lay.unit[layer], lay.x[layer]
    source = before_norm(memory, lay, kinds, layer, n)
    if kinds.norm == BATCH and training:
        batch_forward(
            memory, source, x, o, row, n, kinds.chunk, kinds.eps, lay.inverse[layer],
            lay.running_mean + unit, lay.running_variance + unit, kinds.weight,
        )  # fmt: skip
    elif kinds.norm == BATCH:
        batch_given(memory, source, x, o, row, n, lay.mean + unit, lay.scale + unit)
    elif kinds.norm == SAMPLE:
        sample_forward(memory, source, x, o, row, n, kinds.groups, kinds.centred, kinds.eps, lay.inverse[layer])
    elif kinds.norm == TANH:
        tanh_forward(memory, source, x, o, row, n, lay.theta + lay.alpha[layer])
    last = IDENTITY if kinds.after else kinds.activation
    activate(
        memory, last, x, lay.a[layer], o, row, n, lay.gain[layer], lay.gain_step, lay.shift[layer], lay.shift_step,
        lay.spare,
    )  # fmt: skip


@njit(cache=True)
def forward(memory, lay, kinds, source, n, training):  # type: ignore
    """The outputs of ``n`` samples."""
    last = len(lay.inputs) - 1
    for layer in range(last):
        linear(memory, lay, layer, source, n)
        after_linear(memory, lay, kinds, layer, n, training)
        if training and kinds.dropout > 0:
            multiply(memory, lay.a[layer], lay.mask[layer], lay.outputs[layer], lay.row, n)
        source = lay.a[layer]
    linear(memory, lay, last, source, n)


@njit(cache=True)
def backward(memory, lay, kinds, n):  # type: ignore
    """All gradients, from those of the outputs, which lie in the outputs' place."""
    row, last = lay.row, len(lay.inputs) - 1
    d, e, spare = lay.z[last], lay.d, lay.e
    for back in range(last + 1):
        layer = last - back
        i, o = lay.inputs[layer], lay.outputs[layer]
        weight, grad = lay.theta + lay.weight[layer], lay.grad + lay.weight[layer]
        if layer != last:
            _before_linear(memory, lay, kinds, layer, d, n)
        source = lay.batch if layer == 0 else lay.a[layer - 1]
        product(memory, Matrix(d, row, 1), Matrix(source, 1, row), Matrix(grad, i, 1), o, i, n, lay.zero, 0)
        row_sums(memory, d, o, row, n, lay.grad + lay.bias[layer])
        if layer != 0:
            product(memory, Matrix(weight, 1, i), Matrix(d, row, 1), Matrix(e, row, 1), i, n, o, lay.zero, 0)
        d, e, spare = e, spare, e


@njit(cache=True)
def _before_linear(memory, lay, kinds, layer, d, n):  # type: ignore
    """d <- the gradient of what the linear layer gave."""
    o, row, z, x = lay.outputs[layer], lay.row, lay.z[layer], lay.x[layer]
    if kinds.dropout > 0:
        multiply(memory, d, lay.mask[layer], o, row, n)
    inside, outside = (kinds.activation, IDENTITY) if kinds.after else (IDENTITY, kinds.activation)
    activate_back(
        memory, outside, x, d, o, row, n, lay.gain[layer], lay.gain_step, lay.shift[layer], lay.shift_step,
        lay.gain_grad[layer], lay.shift_grad[layer], lay.spare,
    )  # fmt: skip
    if kinds.norm == BATCH:
        batch_back(memory, d, x, o, row, n, kinds.chunk, lay.inverse[layer])
    elif kinds.norm == SAMPLE:
        sample_back(memory, d, x, o, row, n, kinds.groups, kinds.centred, lay.inverse[layer])
    elif kinds.norm == TANH:
        alpha = lay.alpha[layer]
        tanh_back(memory, d, inside, z, x, o, row, n, lay.theta + alpha, lay.grad + alpha, lay.spare)
    if kinds.after:
        activate_back(
            memory, inside, z, d, o, row, n, lay.one, 0, lay.zero, 0, lay.scratch, lay.scratch, lay.spare
        )


@njit(cache=True)
def closed_form(memory, lay, kinds, mean, covariance):  # type: ignore
    """Population statistics of the first linear layer, from mean and covariance of the inputs: exact."""
    width = lay.inputs[0]
    for j in range(lay.outputs[0]):
        weight = lay.theta + lay.weight[0] + j * width
        centre, variance = load(memory, lay.theta + lay.bias[0] + j), every(memory, 0.0)
        for i in range(width):
            w = load(memory, weight + i)
            centre += w * mean[i]
            half = every(memory, 0.0)
            for k in range(width):
                half += load(memory, weight + k) * covariance[i * width + k]
            variance += w * half
        store(memory, lay.mean + j, centre)
        store(memory, lay.variance + j, variance)
    inverse_root(memory, lay.variance, lay.scale, lay.outputs[0], kinds.eps)


@njit(cache=True)
def gather_moments(memory, lay, kinds, layer, n, seen):  # type: ignore
    """Joins the mean and variance of ``n`` more samples to those of the ``seen`` before, in the given statistics."""
    source, row = before_norm(memory, lay, kinds, layer, n), lay.row
    share = n / (seen + n)
    for j in range(lay.outputs[layer]):
        at = lay.unit[layer] + j
        mean, variance = row_moments(memory, source + j * row, n)
        if seen > 0:
            old, spread = load(memory, lay.mean + at), load(memory, lay.variance + at)
            apart = mean - old
            variance = spread * (1 - share) + variance * share + apart * apart * (share * (1 - share))
            mean = old + apart * share
        store(memory, lay.mean + at, mean)
        store(memory, lay.variance + at, variance)
