"""The formula of every norm in NumPy, float64, written from the papers: the oracles of the contract tests.

Each takes the input, the parameters, the buffers and the options by name, and says whether it trains; it gives the
output and the buffers afterwards. Nothing here is shared with the layers themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, erf

import numpy as np

Arrays = Mapping[str, np.ndarray]
Result = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Given:
    """What a formula is applied to."""

    x: np.ndarray
    layout: str
    p: Arrays = field(default_factory=dict)
    s: Arrays = field(default_factory=dict)
    o: Mapping[str, float] = field(default_factory=dict)
    training: bool = True

    @property
    def spatial(self) -> tuple[int, ...]:
        return tuple(index for index, axis in enumerate(self.layout) if axis not in "NC")

    @property
    def over_batch(self) -> tuple[int, ...]:
        return (0, *self.spatial)

    def channel(self, values: np.ndarray) -> np.ndarray:
        """One value for each channel, ready to broadcast."""
        shape = [1] * self.x.ndim
        shape[self.layout.index("C")] = -1
        return np.reshape(values, shape)

    def affine(self, y: np.ndarray) -> np.ndarray:
        """gamma y + beta for each channel."""
        return y * self.channel(self.p.get("weight", np.ones(1))) + self.channel(self.p.get("bias", np.zeros(1)))

    def moved(self, **new: np.ndarray) -> dict[str, np.ndarray]:
        """The buffers after a step: r <- (1 - m) r + m * statistic."""
        if not self.training:
            return dict(self.s)
        m = self.o["momentum"]
        moved = {name: (1 - m) * self.s[name] + m * np.ravel(value) for name, value in new.items()}
        return {**moved, "num_batches_tracked": self.s["num_batches_tracked"] + 1}


def standardized(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def unbiased(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return x.var(axes, keepdims=True, ddof=1)


def none(g: Given) -> Result:
    return g.x, {}


def bias(g: Given) -> Result:
    return g.affine(g.x), {}


def batch(g: Given) -> Result:
    if g.training:
        y = standardized(g.x, g.over_batch, g.o["eps"])
        return g.affine(y), g.moved(running_mean=g.x.mean(g.over_batch), running_var=unbiased(g.x, g.over_batch))
    y = (g.x - g.channel(g.s["running_mean"])) / np.sqrt(g.channel(g.s["running_var"]) + g.o["eps"])
    return g.affine(y), dict(g.s)


def ghost(g: Given) -> Result:
    size, state, parts = int(g.o["size"]), dict(g.s), []
    if not g.training:
        return batch(g)
    for first in range(0, len(g.x), size):
        y, state = batch(Given(g.x[first : first + size], g.layout, g.p, state, g.o))
        parts.append(y)
    return np.concatenate(parts), state


def renorm(g: Given) -> Result:
    mean, sigma = g.channel(g.s["running_mean"]), g.channel(g.s["running_std"])
    if not g.training:
        return g.affine((g.x - mean) / sigma), dict(g.s)
    step = int(g.s["num_batches_tracked"])

    def bound(first: float, last: float, at: float) -> float:
        if step < g.o["start"]:
            return first
        return last if step >= at else first + (last - first) * (step - g.o["start"]) / (at - g.o["start"])

    rmax, dmax = bound(1.0, g.o["rmax"], g.o["rmax_at"]), bound(0.0, g.o["dmax"], g.o["dmax_at"])
    mean_b = g.x.mean(g.over_batch, keepdims=True)
    sigma_b = np.sqrt(g.x.var(g.over_batch, keepdims=True) + g.o["eps"])
    r = np.clip(sigma_b / sigma, 1 / rmax, rmax)
    d = np.clip((mean_b - mean) / sigma, -dmax, dmax)
    return g.affine((g.x - mean_b) / sigma_b * r + d), g.moved(running_mean=mean_b, running_std=sigma_b)


def mean_only(g: Given) -> Result:
    mean = g.x.mean(g.over_batch, keepdims=True)
    return g.affine(g.x - (mean if g.training else g.channel(g.s["running_mean"]))), g.moved(running_mean=mean)


def variance_only(g: Given) -> Result:
    var = g.x.var(g.over_batch, keepdims=True) if g.training else g.channel(g.s["running_var"])
    return g.affine(g.x / np.sqrt(var + g.o["eps"])), g.moved(running_var=unbiased(g.x, g.over_batch))


def batch_group(g: Given) -> Result:
    groups = int(g.o["groups"])
    flat = g.x.reshape(len(g.x), groups, -1)
    mean, var = flat.mean((0, 2)), flat.var((0, 2))
    used = (mean, var) if g.training else (g.s["running_mean"], g.s["running_var"])
    y = (flat - used[0][:, None]) / np.sqrt(used[1][:, None] + g.o["eps"])
    return g.affine(y.reshape(g.x.shape)), g.moved(running_mean=mean, running_var=unbiased(flat, (0, 2)))


def switchable(g: Given) -> Result:
    def shares(weights: np.ndarray) -> np.ndarray:
        return np.exp(weights) / np.exp(weights).sum()

    axes: list[tuple[int, ...]] = [g.spatial] if g.spatial else []
    axes.append((1, *g.spatial))
    means = [g.x.mean(a, keepdims=True) for a in axes]
    variances = [g.x.var(a, keepdims=True) for a in axes]
    own = g.x.mean(g.over_batch, keepdims=True), g.x.var(g.over_batch, keepdims=True)
    used = own if g.training else (g.channel(g.s["running_mean"]), g.channel(g.s["running_var"]))
    mean = sum(w * m for w, m in zip(shares(g.p["mean_weight"]), [*means, used[0]], strict=True))
    var = sum(w * v for w, v in zip(shares(g.p["var_weight"]), [*variances, used[1]], strict=True))
    y = (g.x - mean) / np.sqrt(var + g.o["eps"])
    return g.affine(y), g.moved(running_mean=own[0], running_var=own[1])


def layer(g: Given) -> Result:
    return g.affine(standardized(g.x, (g.layout.index("C"),), g.o["eps"])), {}


def layer_chw(g: Given) -> Result:
    axes = tuple(range(1, g.x.ndim))
    return standardized(g.x, axes, g.o["eps"]) * g.p["weight"] + g.p["bias"], {}


def group(g: Given) -> Result:
    parts = g.x.reshape(len(g.x), int(g.o["groups"]), -1)
    return g.affine(standardized(parts, (2,), g.o["eps"]).reshape(g.x.shape)), {}


def instance(g: Given) -> Result:
    return g.affine(standardized(g.x, g.spatial, g.o["eps"])), {}


def rms(g: Given) -> Result:
    eps = g.o["eps"] or g.o["machine_eps"]
    axis = g.layout.index("C")
    part = np.take(g.x, range(ceil(g.o["share"] * g.x.shape[axis])), axis)
    return g.affine(g.x / np.sqrt((part**2).mean(axis, keepdims=True) + eps)), {}


def _length(g: Given) -> np.ndarray:
    return np.maximum(np.sqrt((g.x**2).sum(g.layout.index("C"), keepdims=True)), g.o["eps"])


def scale(g: Given) -> Result:
    return g.p["weight"][0] * g.x / _length(g), {}


def unit(g: Given) -> Result:
    return g.x / _length(g), {}


def frn(g: Given) -> Result:
    power = (g.x**2).mean(g.spatial, keepdims=True) if g.spatial else g.x**2
    eps = g.o["eps"] + (np.abs(g.p["learned_eps"]) if "learned_eps" in g.p else 0.0)
    return np.maximum(g.affine(g.x / np.sqrt(power + eps)), g.channel(g.p["tau"])), {}


def evonorm_b0(g: Given) -> Result:
    var = g.x.var(g.over_batch, keepdims=True) if g.training else g.channel(g.s["running_var"])
    own = np.sqrt(g.x.var(g.spatial, keepdims=True) + g.o["eps"])
    y = g.x / np.maximum(np.sqrt(var + g.o["eps"]), g.channel(g.p["v"]) * g.x + own)
    return g.affine(y), g.moved(running_var=unbiased(g.x, g.over_batch))


def evonorm_s0(g: Given) -> Result:
    parts = g.x.reshape(len(g.x), int(g.o["groups"]), -1)
    std = np.sqrt(parts.var(2, keepdims=True) + g.o["eps"])
    std = np.broadcast_to(std, parts.shape).reshape(g.x.shape)
    return g.affine(g.x / (1 + np.exp(-g.channel(g.p["v"]) * g.x)) / std), {}


def dyt(g: Given) -> Result:
    return g.affine(np.tanh(g.p["alpha"][0] * g.x)), {}


def derf(g: Given) -> Result:
    return g.affine(np.vectorize(erf)(g.p["alpha"][0] * g.x + g.p["shift"][0])), {}


FORMULAS: Mapping[str, Callable[[Given], Result]] = {
    "none": none,
    "bias": bias,
    "batch": batch,
    "sync-batch": batch,
    "ghost": ghost,
    "batch-renorm": renorm,
    "mean-only-batch": mean_only,
    "variance-only-batch": variance_only,
    "batch-group": batch_group,
    "switchable": switchable,
    "layer": layer,
    "layer-chw": layer_chw,
    "layer2d": layer,
    "pono": layer,
    "group": group,
    "instance": instance,
    "rms": rms,
    "scale": scale,
    "unit": unit,
    "frn": frn,
    "evonorm-b0": evonorm_b0,
    "evonorm-s0": evonorm_s0,
    "dyt": dyt,
    "derf": derf,
    "weight": none,  # what stands in the slot; the weights have formulas of their own below
    "spectral": none,
    "standardized": none,
    "standardized-group": group,
}


def normalized_weight(v: np.ndarray, g: np.ndarray) -> np.ndarray:
    """w = g v / norm(v), of each output."""
    return g * v / np.sqrt((v**2).sum(tuple(range(1, v.ndim)), keepdims=True))


def standardized_weight(weight: np.ndarray, eps: float) -> np.ndarray:
    """(W - mean) / sqrt(var + eps), of each output over its fan-in."""
    return standardized(weight, tuple(range(1, weight.ndim)), eps)


def spectral_weight(weight: np.ndarray) -> np.ndarray:
    """W / its largest singular value."""
    return weight / np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)[0]
