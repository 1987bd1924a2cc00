"""One step of SGD, Adam or AdamW by torch's formulas, over a stretch of the flat parameters."""

from __future__ import annotations

import math

from numba import njit

from normlab.engine.fused.layers import FAST

SGD, ADAM, ADAMW = range(3)
OPTIMIZERS = {"sgd": SGD, "adam": ADAM, "adamw": ADAMW}
BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8  # torch's defaults


@njit(cache=True, fastmath=FAST)
def update(kind, theta, grad, first, second, start, stop, step, rate, decay, momentum):  # type: ignore
    """Moves ``theta[start:stop]``; ``step`` counts from 1. ``first`` and ``second`` are the moments.

    Adam: D. Kingma and J. Ba, 2014, arXiv:1412.6980; AdamW: I. Loshchilov and F. Hutter, 2017, arXiv:1711.05101.
    """
    t = theta.dtype.type
    if kind == SGD:
        for i in range(start, stop):
            g = grad[i] + t(decay) * theta[i]
            if momentum != 0:
                g = t(momentum) * first[i] + g  # the buffer starts at 0, so the first one is g itself
                first[i] = g
            theta[i] -= t(rate) * g
        return
    one = t(1)
    size = t(rate / (1 - BETA_1**step))
    root = t(1 / math.sqrt(1 - BETA_2**step))
    b1, b2, eps = t(BETA_1), t(BETA_2), t(EPS)
    shrink = one - t(rate * decay) if kind == ADAMW else one
    pull = t(decay) if kind == ADAM else t(0)
    for i in range(start, stop):
        p = theta[i] * shrink
        g = grad[i] + pull * p
        m = first[i] + (g - first[i]) * (one - b1)
        v = b2 * second[i] + (one - b2) * g * g
        first[i], second[i] = m, v
        theta[i] = p - size * (m / (math.sqrt(v) * root + eps))
