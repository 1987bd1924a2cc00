"""One step of SGD, Adam or AdamW by torch's formulas, over a stretch of the parameters."""

from __future__ import annotations

import math

from normlab.engine.fused.jit import function
from normlab.engine.fused.kinds import ADAMW, SGD
from normlab.engine.fused.lanes import VECTOR_BYTES, load, sqrt, store

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8  # torch's defaults


@function
def prepare(memory, kind, rates, decays, step, rate, shrink, pull):
    """Makes three numbers of a step from what each lane has of its own: its rate, and how weights decay.

    Adam's rate has the bias correction of the first moment in it. Weights are multiplied by ``shrink``, and ``pull``
    times them is added to gradients.
    """
    lanes = VECTOR_BYTES // memory.itemsize
    correction = 1.0 if kind == SGD else 1 - BETA_1**step
    for lane in range(lanes):
        memory[rate * lanes + lane] = rates[lane] / correction
        memory[shrink * lanes + lane] = 1 - rates[lane] * decays[lane] if kind == ADAMW else 1.0
        memory[pull * lanes + lane] = 0.0 if kind == ADAMW else decays[lane]


@function
def update(memory, kind, theta, grad, first, second, count, step, rate, shrink, pull, momentum, nesterov):
    """Moves ``count`` parameters; ``step`` counts from 1. ``first`` and ``second`` are the moments.

    ``rate``, ``shrink`` and ``pull`` are the places of the numbers that `prepare` makes.

    Adam: D. Kingma and J. Ba, 2014, arXiv:1412.6980; AdamW: I. Loshchilov and F. Hutter, 2017, arXiv:1711.05101.
    """
    size, factor, decay = load(memory, rate), load(memory, shrink), load(memory, pull)
    if kind == SGD:
        for i in range(count):
            p = load(memory, theta + i)
            g = load(memory, grad + i) + p * decay
            if momentum != 0:
                buffer = load(memory, first + i) * momentum + g  # starts at 0, so the first one is g itself
                store(memory, first + i, buffer)
                g = g + buffer * momentum if nesterov else buffer
            store(memory, theta + i, p - g * size)
        return
    root = 1 / math.sqrt(1 - BETA_2**step)
    for i in range(count):
        p = load(memory, theta + i) * factor
        g = load(memory, grad + i) + p * decay
        m = load(memory, first + i)
        m = m + (g - m) * (1 - BETA_1)
        v = load(memory, second + i) * BETA_2 + g * g * (1 - BETA_2)
        store(memory, first + i, m)
        store(memory, second + i, v)
        store(memory, theta + i, p - m / (sqrt(v) * root + EPS) * size)
