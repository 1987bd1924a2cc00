"""One step of SGD, Adam or AdamW by torch's formulas, over a stretch of the parameters."""

from __future__ import annotations

import math

from normlab.engine.fused.jit import function
from normlab.engine.fused.kinds import ADAM, ADAMW, SGD
from normlab.engine.fused.lanes import load, sqrt, store

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8  # torch's defaults


@function
def update(memory, kind, theta, grad, first, second, count, step, rate, decay, momentum, nesterov):
    """Moves ``count`` parameters; ``step`` counts from 1. ``first`` and ``second`` are the moments.

    Adam: D. Kingma and J. Ba, 2014, arXiv:1412.6980; AdamW: I. Loshchilov and F. Hutter, 2017, arXiv:1711.05101.
    """
    if kind == SGD:
        for i in range(count):
            p = load(memory, theta + i)
            g = load(memory, grad + i) + p * decay
            if momentum != 0:
                buffer = load(memory, first + i) * momentum + g  # starts at 0, so the first one is g itself
                store(memory, first + i, buffer)
                g = g + buffer * momentum if nesterov else buffer
            store(memory, theta + i, p - g * rate)
        return
    size = rate / (1 - BETA_1**step)
    root = 1 / math.sqrt(1 - BETA_2**step)
    shrink = 1 - rate * decay if kind == ADAMW else 1.0
    pull = decay if kind == ADAM else 0.0
    for i in range(count):
        p = load(memory, theta + i) * shrink
        g = load(memory, grad + i) + p * pull
        m = load(memory, first + i)
        m = m + (g - m) * (1 - BETA_1)
        v = load(memory, second + i) * BETA_2 + g * g * (1 - BETA_2)
        store(memory, first + i, m)
        store(memory, second + i, v)
        store(memory, theta + i, p - m / (sqrt(v) * root + EPS) * size)
