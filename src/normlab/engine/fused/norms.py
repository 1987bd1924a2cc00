"""Normalization over the batch (each row) and over groups of features (each column), forward and backward."""

from __future__ import annotations

from normlab.engine.fused.jit import function, inlined
from normlab.engine.fused.lanes import every, load, sqrt, store, where_greater
from normlab.engine.fused.layers import tanh, value


@inlined
def row_sum(memory, place, n, mean, power):
    """The sum of (x - mean)^power over ``n`` numbers, power 1 or 2.

    It runs in four partial sums: a single one would wait for itself at every addition.
    """
    s0, s1, s2, s3 = every(memory, 0.0), every(memory, 0.0), every(memory, 0.0), every(memory, 0.0)
    whole = n - n % 4
    if power == 1:
        for k in range(place, place + whole, 4):
            s0 += load(memory, k) - mean
            s1 += load(memory, k + 1) - mean
            s2 += load(memory, k + 2) - mean
            s3 += load(memory, k + 3) - mean
        for k in range(place + whole, place + n):
            s0 += load(memory, k) - mean
    else:
        for k in range(place, place + whole, 4):
            x0, x1 = load(memory, k) - mean, load(memory, k + 1) - mean
            x2, x3 = load(memory, k + 2) - mean, load(memory, k + 3) - mean
            s0 += x0 * x0
            s1 += x1 * x1
            s2 += x2 * x2
            s3 += x3 * x3
        for k in range(place + whole, place + n):
            x0 = load(memory, k) - mean
            s0 += x0 * x0
    return (s0 + s1) + (s2 + s3)


@inlined
def row_moments(memory, place, n):
    """Mean and biased variance of ``n`` numbers, in two passes."""
    mean = row_sum(memory, place, n, every(memory, 0.0), 1) / n
    return mean, row_sum(memory, place, n, mean, 2) / n


@inlined
def chunks_of(n, size):
    """How many chunks of ``size`` a batch of ``n`` is cut into; a last one of a single sample joins the one before."""
    if size == 0 or size >= n:
        return 1
    whole, rest = n // size, n % size
    return whole + (rest > 1)


@function
def batch_forward(memory, z, x, rows, row, n, size, eps, inverse, running_mean, running_variance, weight):
    """x = (z - mean) / sqrt(variance + eps) for each row and chunk; moves the running statistics.

    Running statistics move by ``weight`` towards the mean and the unbiased variance, chunk after chunk.
    """
    count = chunks_of(n, size)
    for j in range(rows):
        mean_now, variance_now = load(memory, running_mean + j), load(memory, running_variance + j)
        for chunk in range(count):
            first = chunk * size
            m = n - first if chunk == count - 1 else size
            i, o = z + j * row + first, x + j * row + first
            mean, variance = row_moments(memory, i, m)
            r = every(memory, 1.0) / sqrt(variance + eps)
            store(memory, inverse + chunk * rows + j, r)
            mean_now = mean_now * (1 - weight) + mean * weight
            variance_now = variance_now * (1 - weight) + variance * (weight * m / (m - 1))
            for k in range(m):
                store(memory, o + k, (load(memory, i + k) - mean) * r)
        store(memory, running_mean + j, mean_now)
        store(memory, running_variance + j, variance_now)


@function
def batch_given(memory, z, x, rows, row, n, mean, inverse):
    """x by given statistics of each row, as in evaluation."""
    for j in range(rows):
        m, r = load(memory, mean + j), load(memory, inverse + j)
        for k in range(j * row, j * row + n):
            store(memory, x + k, (load(memory, z + k) - m) * r)


@function
def batch_back(memory, d, x, rows, row, n, size, inverse):
    """d <- the gradient before the norm."""
    count = chunks_of(n, size)
    for j in range(rows):
        for chunk in range(count):
            first = chunk * size
            m = n - first if chunk == count - 1 else size
            e, i = d + j * row + first, x + j * row + first
            plain, weighted = every(memory, 0.0), every(memory, 0.0)
            for k in range(m):
                y = load(memory, e + k)
                plain += y
                weighted += y * load(memory, i + k)
            plain /= m
            weighted /= m
            r = load(memory, inverse + chunk * rows + j)
            for k in range(m):
                store(memory, e + k, (load(memory, e + k) - plain - load(memory, i + k) * weighted) * r)


@function
def sample_forward(memory, z, x, rows, row, n, groups, centred, eps, inverse, sums):
    """x = (z - mean) / sqrt(variance + eps) for each column and group of rows, without the mean unless ``centred``.

    Rows are read from end to end and sums kept in rows of their own: columns would miss the nearest cache.
    """
    size, zero, one = rows // groups, every(memory, 0.0), every(memory, 1.0)
    for group in range(groups):
        first, at = group * size, inverse + group * row
        for k in range(n):
            store(memory, sums + k, zero)
            store(memory, at + k, zero)
        if centred:
            for j in range(first, first + size):
                for k in range(n):
                    store(memory, sums + k, load(memory, sums + k) + load(memory, z + j * row + k))
            for k in range(n):
                store(memory, sums + k, load(memory, sums + k) / size)
        for j in range(first, first + size):
            for k in range(n):
                y = load(memory, z + j * row + k) - load(memory, sums + k)
                store(memory, at + k, load(memory, at + k) + y * y)
        for k in range(n):
            store(memory, at + k, one / sqrt(load(memory, at + k) / size + eps))
        for j in range(first, first + size):
            for k in range(n):
                y = load(memory, z + j * row + k) - load(memory, sums + k)
                store(memory, x + j * row + k, y * load(memory, at + k))


@function
def sample_back(memory, d, x, rows, row, n, groups, centred, inverse, sums):
    """d <- the gradient before the norm."""
    size, zero = rows // groups, every(memory, 0.0)
    plain, weighted = sums, sums + row
    for group in range(groups):
        first, at = group * size, inverse + group * row
        for k in range(n):
            store(memory, plain + k, zero)
            store(memory, weighted + k, zero)
        for j in range(first, first + size):
            for k in range(n):
                y = load(memory, d + j * row + k)
                store(memory, plain + k, load(memory, plain + k) + y)
                store(memory, weighted + k, load(memory, weighted + k) + y * load(memory, x + j * row + k))
        for k in range(n):
            store(memory, plain + k, load(memory, plain + k) / size if centred else zero)
            store(memory, weighted + k, load(memory, weighted + k) / size)
        for j in range(first, first + size):
            for k in range(n):
                y = load(memory, d + j * row + k) - load(memory, plain + k)
                y = y - load(memory, x + j * row + k) * load(memory, weighted + k)
                store(memory, d + j * row + k, y * load(memory, at + k))


@function
def tanh_forward(memory, z, x, rows, row, n, alpha):
    """x = tanh(alpha z)."""
    a = load(memory, alpha)
    for j in range(rows):
        for k in range(j * row, j * row + n):
            store(memory, x + k, tanh(load(memory, z + k) * a))


@function
def tanh_back(memory, d, kind, z, x, rows, row, n, alpha, to_alpha, spare):
    """d <- the gradient before the norm, whose input is f(z); the gradient of alpha goes to ``to_alpha``."""
    a, total = load(memory, alpha), every(memory, 0.0)
    for j in range(rows):
        for k in range(j * row, j * row + n):
            t = load(memory, x + k)
            y = load(memory, d + k) * (1.0 - t * t)
            total += y * value(memory, kind, load(memory, z + k), spare)
            store(memory, d + k, y * a)
    store(memory, to_alpha, total)


@function
def inverse_root(memory, variance, inverse, count, eps):
    """1 / sqrt(variance + eps); a variance below 0 by rounding counts as 0."""
    zero = every(memory, 0.0)
    for j in range(count):
        v = load(memory, variance + j)
        store(memory, inverse + j, every(memory, 1.0) / sqrt(where_greater(zero, v, zero, v) + eps))
