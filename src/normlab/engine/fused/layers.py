"""Activations and the softmax cross-entropy. A buffer holds one row for each feature and one column for each sample."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

FAST = {"contract", "reassoc", "nsz", "arcp"}  # not nnan or ninf: divergence must stay visible
RELU, TANH, GELU, SILU = range(4)
ACTIVATIONS = {"relu": RELU, "tanh": TANH, "gelu": GELU, "silu": SILU}

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # their sum is ln 2; the first has few bits
_LEAST_EXPONENT = -87.0


def exponential(x):  # type: ignore
    """exp(x) for x <= 0; in single precision a polynomial that the compiler can vectorize."""
    return math.exp(x)


@overload(exponential)
def _exponential(x):  # type: ignore
    if x != types.float32:
        return lambda x: math.exp(x)
    f = np.float32
    log2_e, high, low, least, half, one = f(_LOG2_E), f(_LN2_HIGH), f(_LN2_LOW), f(_LEAST_EXPONENT), f(0.5), f(1)
    c0, c1, c2, c3, c4, c5 = (f(1 / math.factorial(n)) for n in (7, 6, 5, 4, 3, 2))

    def single(x):  # type: ignore
        if x < least:  # not a maximum, which would hide NaN
            x = least
        n = math.floor(x * log2_e + half)
        r = x - n * high - n * low
        p = (((((c0 * r + c1) * r + c2) * r + c3) * r + c4) * r + c5) * r * r + r + one
        return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)

    return single


@njit(cache=True, fastmath=FAST)
def activate(kind, u, u0, a, a0, rows, row, n):  # type: ignore
    """a = f(u)."""
    for j in range(rows):
        i, o = u0 + j * row, a0 + j * row
        if kind == RELU:
            for k in range(n):
                x = u[i + k]
                a[o + k] = x if x > 0 else x * 0  # keeps NaN
        elif kind == TANH:
            for k in range(n):
                a[o + k] = math.tanh(u[i + k])
        elif kind == GELU:
            for k in range(n):
                x = u[i + k]
                a[o + k] = 0.5 * x * (1 + math.erf(x * math.sqrt(0.5)))
        else:
            for k in range(n):
                x = u[i + k]
                a[o + k] = x / (1 + math.exp(-x))


@njit(cache=True, fastmath=FAST)
def activate_back(kind, u, u0, a, a0, d, rows, row, n):  # type: ignore
    """d <- d f'(u), in place."""
    for j in range(rows):
        i, o, g = u0 + j * row, a0 + j * row, j * row
        if kind == RELU:
            for k in range(n):
                d[g + k] = d[g + k] if u[i + k] > 0 else d[g + k] * 0
        elif kind == TANH:
            for k in range(n):
                d[g + k] *= 1 - a[o + k] * a[o + k]
        elif kind == GELU:
            for k in range(n):
                x = u[i + k]
                density = math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
                d[g + k] *= 0.5 * (1 + math.erf(x * math.sqrt(0.5))) + x * density
        else:
            for k in range(n):
                x = u[i + k]
                s = 1 / (1 + math.exp(-x))
                d[g + k] *= s * (1 + x * (1 - s))


@njit(cache=True, fastmath=FAST)
def cross_entropy(logits, classes, row, n, targets, t0, peak, total):  # type: ignore
    """Sum of the losses of ``n`` samples and how many are classified correctly; ``logits`` become exp(logit - peak).

    The sum of the logarithms of the partition sums is taken as the logarithm of their product, 32 at a time.
    """
    loss = 0.0
    right = 0
    for k in range(n):
        peak[k] = logits[k]
        total[k] = 0
    for c in range(1, classes):
        for k in range(n):
            x = logits[c * row + k]
            peak[k] = x if x > peak[k] else peak[k]
    for k in range(n):
        own = logits[targets[t0 + k] * row + k]
        loss += np.float64(peak[k]) - np.float64(own)
        right += own == peak[k] and _is_first(logits, row, k, targets[t0 + k], peak[k])
    for c in range(classes):
        i = c * row
        for k in range(n):
            e = exponential(logits[i + k] - peak[k])
            logits[i + k] = e
            total[k] += e
    for first in range(0, n, 32):
        together = 1.0
        for k in range(first, min(first + 32, n)):
            together *= np.float64(total[k])
        loss += math.log(together) if together > 0 else math.nan
    return loss, right


@njit(cache=True)
def _is_first(logits, row, k, target, peak):  # type: ignore
    """Whether no earlier class has the same largest logit: ties go to the first, as in argmax."""
    for c in range(target):  # noqa: SIM110  (all() is slower here)
        if logits[c * row + k] == peak:
            return False
    return True


@njit(cache=True, fastmath=FAST)
def cross_entropy_back(d, classes, row, n, wide, targets, t0, total):  # type: ignore
    """d <- (softmax - one-hot) / n from exp(logit - peak), zero in the columns ``n`` to ``wide``."""
    share = d.dtype.type(1) / d.dtype.type(n)
    for k in range(n):
        total[k] = share / total[k]
    for c in range(classes):
        for k in range(n):
            d[c * row + k] *= total[k]
        for k in range(n, wide):
            d[c * row + k] = 0
    for k in range(n):
        d[targets[t0 + k] * row + k] -= share
