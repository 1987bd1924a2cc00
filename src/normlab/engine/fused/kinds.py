"""What a network is made of, as numbers that the kernel tells apart."""

from __future__ import annotations

from typing import NamedTuple

NONE, BATCH, GIVEN, SAMPLE, TANH_NORM = range(5)  # GIVEN: BATCH in evaluation; SAMPLE: layer, group, rms
RELU, TANH, GELU, SILU, IDENTITY = range(5)
CROSS_ENTROPY, SQUARED_ERROR = range(2)
SGD, ADAM, ADAMW = range(3)

OPTIONS = frozenset({"groups", "size", "eps", "momentum", "affine", "alpha"})  # of norms, that the kernel knows
NORMS = {
    "none": NONE,
    "batch": BATCH,
    "ghost": BATCH,
    "layer": SAMPLE,
    "group": SAMPLE,
    "rms": SAMPLE,
    "dyt": TANH_NORM,
}
ACTIVATIONS = {"relu": RELU, "tanh": TANH, "gelu": GELU, "silu": SILU}
OPTIMIZERS = {"sgd": SGD, "adam": ADAM, "adamw": ADAMW}


class Kinds(NamedTuple):
    """What a network is made of."""

    norm: int
    groups: int
    chunk: int  # samples that a batch norm takes together; 0 for the whole batch
    centred: bool
    eps: float
    weight: float  # of the new statistic in the running average
    activation: int
    after: bool  # whether the norm comes after the activation
    loss: int
    dropout: float
    gain: bool  # whether the norm learns a gain, and a shift
    shift: bool
    alpha: float  # where DyT's alpha starts
