"""Activations, dropout and losses. A buffer holds one row for each feature and one column for each sample."""

from __future__ import annotations

import math

from normlab.engine.fused.jit import function, inlined
from normlab.engine.fused.kinds import CROSS_ENTROPY, GELU, RELU, SILU, TANH
from normlab.engine.fused.lanes import every, exp, load, per_lane, store, where_greater

_erf = per_lane(math.erf)
_log = per_lane(math.log)


@inlined
def tanh(x):
    """Hyperbolic tangent, to the precision of the type beside 1."""
    return 1.0 - 2.0 / (exp(x * 2.0) + 1.0)


@inlined
def _normal(memory, x, spare):
    """The distribution function of the normal distribution."""
    store(memory, spare, x * math.sqrt(0.5))
    return _erf(memory, spare) * 0.5 + 0.5


@inlined
def value(memory, kind, u, spare):
    """f(u)."""
    if kind == RELU:
        zero = every(memory, 0.0)
        return where_greater(zero, u, zero, u)  # keeps NaN
    if kind == TANH:
        return tanh(u)
    if kind == GELU:
        return u * _normal(memory, u, spare)
    if kind == SILU:
        return u / (exp(u * -1.0) + 1.0)
    return u


@inlined
def _slope(memory, kind, u, spare):
    """f'(u)."""
    one = every(memory, 1.0)
    if kind == RELU:
        zero = every(memory, 0.0)
        return where_greater(u, zero, one, zero)
    if kind == TANH:
        t = tanh(u)
        return one - t * t
    if kind == GELU:
        density = exp(u * u * -0.5) * (1 / math.sqrt(2 * math.pi))
        return _normal(memory, u, spare) + u * density
    if kind == SILU:
        s = one / (exp(u * -1.0) + 1.0)
        return s * (u * (one - s) + 1.0)
    return one


@inlined
def _activate(memory, kind, x, a, rows, row, n, gain, gain_step, shift, shift_step, spare):
    for j in range(rows):
        g, h = load(memory, gain + j * gain_step), load(memory, shift + j * shift_step)
        i, o = x + j * row, a + j * row
        for k in range(n):
            store(memory, o + k, value(memory, kind, load(memory, i + k) * g + h, spare))


@function
def activate(memory, kind, x, a, rows, row, n, gain, gain_step, shift, shift_step, spare):
    """a = f(gain x + shift), gain and shift of each row. ReLU gets a loop of its own, without a branch in it."""
    if kind == RELU:
        _activate(memory, RELU, x, a, rows, row, n, gain, gain_step, shift, shift_step, spare)
    else:
        _activate(memory, kind, x, a, rows, row, n, gain, gain_step, shift, shift_step, spare)


@inlined
def _activate_back(memory, kind, x, d, rows, row, n, gain, gain_step, shift, shift_step, to_gain, to_shift, spare):
    for j in range(rows):
        g, h = load(memory, gain + j * gain_step), load(memory, shift + j * shift_step)
        i, e = x + j * row, d + j * row
        weighted, plain = every(memory, 0.0), every(memory, 0.0)
        for k in range(n):
            y = load(memory, i + k)
            back = load(memory, e + k) * _slope(memory, kind, y * g + h, spare)
            weighted += back * y
            plain += back
            store(memory, e + k, back * g)
        store(memory, to_gain + j, weighted)
        store(memory, to_shift + j, plain)


@function
def activate_back(memory, kind, x, d, rows, row, n, gain, gain_step, shift, shift_step, to_gain, to_shift, spare):
    """d <- the gradient of x, in place; the gradients of gain and shift go to ``to_gain`` and ``to_shift``."""
    if kind == RELU:
        _activate_back(memory, RELU, x, d, rows, row, n, gain, gain_step, shift, shift_step, to_gain, to_shift, spare)
    else:
        _activate_back(memory, kind, x, d, rows, row, n, gain, gain_step, shift, shift_step, to_gain, to_shift, spare)


@function
def multiply(memory, a, mask, rows, row, n):
    """a <- a mask."""
    for j in range(rows):
        for k in range(j * row, j * row + n):
            store(memory, a + k, load(memory, a + k) * load(memory, mask + k))


@function
def row_sums(memory, d, rows, row, n, to):
    """The sum of each row."""
    for j in range(rows):
        total = every(memory, 0.0)
        for k in range(d + j * row, d + j * row + n):
            total += load(memory, k)
        store(memory, to + j, total)


@function
def loss(memory, kind, outputs, wanted, classes, row, n, total, to_loss, to_right, spare):
    """Adds to ``to_loss`` the losses of ``n`` samples and to ``to_right`` how many are classified correctly.

    ``wanted`` holds 1 for the class of each sample and 0 for the others. For the cross-entropy, the outputs become
    exp(output - largest output) and row ``total`` their sums. The logarithm of several sums is taken of their product.
    """
    sum_, right = load(memory, to_loss), load(memory, to_right)
    one = every(memory, 1.0)
    together = max(1, min(32, int(30 / math.log10(classes + 1))))
    product = one
    for k in range(n):
        best, hit, own = load(memory, outputs + k), load(memory, wanted + k), every(memory, 0.0)
        for c in range(classes):
            x, w = load(memory, outputs + c * row + k), load(memory, wanted + c * row + k)
            hit = where_greater(x, best, w, hit)
            best = where_greater(x, best, x, best)
            if kind == CROSS_ENTROPY:
                own += x * w
            else:
                sum_ += (x - w) * (x - w)
        right += hit
        if kind == CROSS_ENTROPY:
            all_ = every(memory, 0.0)
            for c in range(classes):
                e = exp(load(memory, outputs + c * row + k) - best)
                store(memory, outputs + c * row + k, e)
                all_ += e
            store(memory, total + k, all_)
            sum_ += best - own
            product *= all_
            if k % together == together - 1 or k == n - 1:
                store(memory, spare, product)
                sum_ += _log(memory, spare)
                product = one
    store(memory, to_loss, sum_)
    store(memory, to_right, right)


@function
def loss_back(memory, kind, outputs, wanted, classes, row, n, total):
    """The outputs become the gradient of the mean loss: (softmax - wanted) / n or 2 (output - wanted) / (n classes)."""
    for k in range(n):
        if kind == CROSS_ENTROPY:
            share = every(memory, 1.0) / (load(memory, total + k) * n)
            for c in range(k, k + classes * row, row):
                x = load(memory, outputs + c) * share - load(memory, wanted + c) / n
                store(memory, outputs + c, x)
        else:
            for c in range(k, k + classes * row, row):
                x = (load(memory, outputs + c) - load(memory, wanted + c)) * (2.0 / (n * classes))
                store(memory, outputs + c, x)
