"""Normalization over the batch (each row) and over groups of features (each column), forward and backward."""

from __future__ import annotations

import math

from numba import njit

from normlab.engine.fused.layers import FAST

NONE, BATCH, SAMPLE, ROOT = range(4)  # ROOT: over the features without subtracting the mean


@njit(cache=True, fastmath=FAST)
def row_moments(z, z0, n):  # type: ignore
    """Mean and biased variance of ``n`` numbers, in two passes."""
    total = z.dtype.type(0)
    for k in range(n):
        total += z[z0 + k]
    mean = total / z.dtype.type(n)
    squares = z.dtype.type(0)
    for k in range(n):
        x = z[z0 + k] - mean
        squares += x * x
    return mean, squares / z.dtype.type(n)


@njit(cache=True, fastmath=FAST)
def batch_forward(z, z0, x, x0, u, u0, rows, row, n, mean, inverse, variance, s0, eps, gain, g0, shift, h0, affine):  # type: ignore
    """Statistics of each row, x = (z - mean) / sqrt(variance + eps), u = gain x + shift."""
    for j in range(rows):
        i = j * row
        m, v = row_moments(z, z0 + i, n)
        r = z.dtype.type(1) / math.sqrt(v + z.dtype.type(eps))
        mean[s0 + j], variance[s0 + j], inverse[s0 + j] = m, v, r
        g = gain[g0 + j] if affine else z.dtype.type(1)
        h = shift[h0 + j] if affine else z.dtype.type(0)
        for k in range(n):
            y = (z[z0 + i + k] - m) * r
            x[x0 + i + k] = y
            u[u0 + i + k] = g * y + h


@njit(cache=True, fastmath=FAST)
def batch_given(z, z0, u, u0, rows, row, n, mean, inverse, s0, gain, g0, shift, h0, affine):  # type: ignore
    """u by given statistics of each row, as in evaluation."""
    for j in range(rows):
        i = j * row
        g = gain[g0 + j] if affine else z.dtype.type(1)
        h = shift[h0 + j] if affine else z.dtype.type(0)
        m, r = mean[s0 + j], inverse[s0 + j]
        for k in range(n):
            u[u0 + i + k] = g * ((z[z0 + i + k] - m) * r) + h


@njit(cache=True, fastmath=FAST)
def batch_back(d, x, x0, rows, row, n, wide, inverse, s0, gain, g0, grad, affine):  # type: ignore
    """d <- the gradient before the norm; gradients of gain and shift; zero in the columns ``n`` to ``wide``."""
    for j in range(rows):
        i = j * row
        plain, weighted = d.dtype.type(0), d.dtype.type(0)
        for k in range(n):
            plain += d[i + k]
            weighted += d[i + k] * x[x0 + i + k]
        g = gain[g0 + j] if affine else d.dtype.type(1)
        if affine:
            grad[g0 + j] = weighted
            grad[g0 + rows + j] = plain
        r = g * inverse[s0 + j]
        plain /= d.dtype.type(n)
        weighted /= d.dtype.type(n)
        for k in range(n):
            d[i + k] = r * (d[i + k] - plain - x[x0 + i + k] * weighted)
        for k in range(n, wide):
            d[i + k] = 0


@njit(cache=True, fastmath=FAST)
def sample_forward(z, z0, x, x0, u, u0, rows, row, n, groups, centred, inverse, s0, eps, gain, g0, shift, h0, affine, has_shift, mean):  # type: ignore  # fmt: skip
    """Statistics of each column over the rows of each group; ``inverse`` has one row for each group."""
    size = rows // groups
    share = z.dtype.type(1) / z.dtype.type(size)
    for group in range(groups):
        first = z0 + group * size * row
        s = s0 + group * row
        for k in range(n):
            mean[k] = 0
            inverse[s + k] = 0
        if centred:
            for j in range(size):
                for k in range(n):
                    mean[k] += z[first + j * row + k]
            for k in range(n):
                mean[k] *= share
        for j in range(size):
            for k in range(n):
                y = z[first + j * row + k] - mean[k]
                inverse[s + k] += y * y
        for k in range(n):
            inverse[s + k] = z.dtype.type(1) / math.sqrt(inverse[s + k] * share + z.dtype.type(eps))
        for j in range(size):
            f = group * size + j
            i = f * row
            g = gain[g0 + f] if affine else z.dtype.type(1)
            h = shift[h0 + f] if has_shift else z.dtype.type(0)
            for k in range(n):
                y = (z[z0 + i + k] - mean[k]) * inverse[s + k]
                x[x0 + i + k] = y
                u[u0 + i + k] = g * y + h


@njit(cache=True, fastmath=FAST)
def sample_back(d, x, x0, rows, row, n, groups, centred, inverse, s0, gain, g0, grad, affine, has_shift, plain, weighted):  # type: ignore  # fmt: skip
    """d <- the gradient before the norm; gradients of gain and shift. Columns with d = 0 stay 0."""
    size = rows // groups
    share = d.dtype.type(1) / d.dtype.type(size)
    for group in range(groups):
        s = s0 + group * row
        for k in range(n):
            plain[k] = 0
            weighted[k] = 0
        for j in range(size):
            f = group * size + j
            i = f * row
            g = gain[g0 + f] if affine else d.dtype.type(1)
            sum_d, sum_dx = d.dtype.type(0), d.dtype.type(0)
            for k in range(n):
                y = d[i + k]
                yx = y * x[x0 + i + k]
                sum_d += y
                sum_dx += yx
                plain[k] += g * y
                weighted[k] += g * yx
            if affine:
                grad[g0 + f] = sum_dx
            if has_shift:
                grad[g0 + rows + f] = sum_d
        for k in range(n):
            plain[k] = plain[k] * share if centred else d.dtype.type(0)
            weighted[k] *= share
        for j in range(size):
            f = group * size + j
            i = f * row
            g = gain[g0 + f] if affine else d.dtype.type(1)
            for k in range(n):
                d[i + k] = inverse[s + k] * (g * d[i + k] - plain[k] - x[x0 + i + k] * weighted[k])
