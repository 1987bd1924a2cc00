"""Norms with one planted mistake each, which the checks must find."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from normlab import norms
from normlab.norms.batch import BATCH
from normlab.norms.layer import LAYER, RMS
from normlab.norms.none import NONE
from normlab.norms.spec import NormSpec
from normlab.norms.weights import WEIGHT


def made(base: NormSpec, module: Callable[[int], nn.Module], **claims: Any) -> NormSpec:
    """``base`` on N,C input with another module, without learned parameters unless said otherwise."""
    axes = {"NC": base.axes["NC"]}
    fields = {"axes": axes, "affine": "none", "parameters": {}, "options": (), "invariances": frozenset(), **claims}
    return replace(base, name="broken", build=lambda slot, options: module(slot.channels), **fields)


class Formula(nn.Module):
    """A layer without parameters and state."""

    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)


def formula(base: NormSpec, compute: Callable[[Tensor], Tensor], wide: bool = True, **claims: Any) -> NormSpec:
    """A norm that computes in float32 at least, unless ``wide`` is false, and gives the type of its input."""

    def widened(x: Tensor) -> Tensor:
        return compute(x.float()).to(x.dtype) if x.dtype in (torch.float16, torch.bfloat16) else compute(x)

    return made(base, lambda channels: Formula(widened if wide else compute), **claims)


def _spread(x: Tensor) -> Tensor:
    return (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()


def _root(x: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / ((wide * wide).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype)


def _layer(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / _spread(x)


def _cancelling(x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / ((x * x).mean(-1, keepdim=True) - mean * mean).abs().add(1e-5).sqrt()


def _own_order(x: Tensor) -> Tensor:
    """Reads memory as if it were contiguous."""
    return _layer(torch.as_strided(x, x.shape, (x.shape[1], 1)))


class LostState(nn.Module):
    """Keeps a running mean outside of the state dict."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.running = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running = 0.9 * self.running + 0.1 * x.detach().mean()
        return x - self.running


class Unregistered(nn.Module):
    """Draws a factor that is no buffer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = 1 + torch.rand(())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Restless(nn.BatchNorm1d):
    """Moves its running statistics in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        if not self.training and len(x) > 1:
            self.running_mean.add_(1)
        return output


class Twin(nn.BatchNorm1d):
    """Its copy is itself."""

    def __deepcopy__(self, memo: object) -> Twin:
        return self


class Doubling(nn.Module):
    """Does something else in training."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if self.training else x


class Keeping(nn.Module):
    """A base for layers that keep a buffer, which no output depends on."""

    kept: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.keep(x.detach())
        return x

    def keep(self, x: Tensor) -> None:
        """Moves the buffer; here it is left as it was."""


class Reassigning(Keeping):
    """Puts another tensor in the place of its buffer, which torch.func loses."""

    def keep(self, x: Tensor) -> None:
        self.kept = self.kept + 1


class LogKeeping(Keeping):
    """Keeps the logarithm of a spread, which may be 0."""

    def keep(self, x: Tensor) -> None:
        self.kept.copy_(x.std(correction=0).log())


class ZeroDivided(nn.Module):
    """Adds an eps that float64 does not feel, and in training alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.abs().mean(-1, keepdim=True) + (1e-12 if self.training else 0))


class Gained(nn.Module):
    """A base for layers with a gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))


class Backward(Gained):
    """The gradient of its gain has the wrong sign."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (2 * self.gain.detach() - self.gain)


class Rooted(Gained):
    """Takes a root of its gain and the share of elements that are not 0, which may be 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.gain * (x != 0).to(x.dtype).mean(-1, keepdim=True)).sqrt()


def _autocast_apart(x: Tensor) -> Tensor:
    return 1.5 * x if torch.is_autocast_enabled("cpu") else x


def _compiled_apart(x: Tensor) -> Tensor:
    return 1.5 * x if torch.compiler.is_compiling() else x


class _OwnOrderBackward(torch.autograd.Function):
    """The identity, whose backward pass reads memory as if it were contiguous."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (dy,) = gradients
        return torch.as_strided(dy, dy.shape, torch.empty(dy.shape).stride())


class LeavingEarly(Gained):
    """Gives an empty batch back as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain.view(-1, 1, 1) if x.numel() else x.clone()


class EmptyMean(Gained):
    """Its gain meets the mean over the positions, of which there may be none."""

    def forward(self, x: Tensor) -> Tensor:
        shift = self.gain * 0 * x.mean((2, 3))
        return x * self.gain.view(-1, 1, 1) + shift[..., None, None]


def _in_order(x: Tensor) -> Tensor:
    """The order in memory of its gradient is that of its output, whatever that of its input."""
    return _OwnOrderBackward.apply(x)


def _few_channels(x: Tensor) -> Tensor:
    """The wrong formula for more than 8 channels."""
    return _cancelling_by_channel(x) if x.shape[1] > 8 else (x - x.mean(1, keepdim=True)) / _spread_of(x)


def _spread_of(x: Tensor) -> Tensor:
    return (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt()


def _cancelling_by_channel(x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    return (x - mean) / ((x * x).mean(1, keepdim=True) - mean * mean).abs().add(1e-5).sqrt()


def _constants_apart(x: Tensor) -> Tensor:
    spread = x.var(1, keepdim=True, correction=0)
    return torch.where(spread == 0, x + 5, x) if torch.compiler.is_compiling() else x + 0 * spread


COUPLES = formula(LAYER, lambda x: _layer(x) + x.mean(0))
WRONG_AXES = formula(LAYER, _layer, axes={"NC": ("N", "C")}, couples_batch=False)
NO_AXES = formula(NONE, lambda x: x, axes={"NC": ("C",)}, scaled=True)
WRONG_INVARIANCE = formula(RMS, lambda x: x / (x * x).mean(-1, keepdim=True).add(1e-6).sqrt(), invariances={"shift"})
NAN_ON_CONSTANTS = formula(LAYER, lambda x: (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True))
DETACHED = formula(LAYER, lambda x: (x - x.mean(-1, keepdim=True)) / _spread(x).detach())
CANCELLING = formula(LAYER, _cancelling)
OWN_ORDER = formula(LAYER, _own_order)
UPCASTING = formula(LAYER, lambda x: _layer(x.to(torch.promote_types(x.dtype, torch.float32))), wide=False)
OVERFLOWING = formula(RMS, lambda x: x / ((x * x).mean(-1, keepdim=True) + 1e-5).sqrt(), wide=False)
CRASHING = formula(NONE, lambda x: x if x.any() else [][0])
LOST_STATE = made(NONE, LostState)
UNREGISTERED = made(NONE, Unregistered)
BATCH_IN_EVALUATION = made(BATCH, lambda channels: nn.BatchNorm1d(channels, affine=False, track_running_stats=False))
UNSAID_PARAMETERS = made(LAYER, nn.LayerNorm)
UNSAID_STATE = made(BATCH, lambda channels: nn.BatchNorm1d(channels, affine=False), state="none")
RESTLESS = made(BATCH, Restless, affine="gamma and beta")
TWIN = made(BATCH, Twin, affine="gamma and beta")
DOUBLING = made(NONE, lambda channels: Doubling())
COMPILED_APART = formula(NONE, _compiled_apart)

IMAGES: dict[str, Any] = {"axes": {"NCHW": ()}}
STATED: dict[str, Any] = IMAGES | {"state": "one number", "buffers": {"kept": "1"}}
WITH_GAIN: dict[str, Any] = {"affine": "a gain", "parameters": {"gain": "C"}}
BACKWARD = made(NONE, Backward, **WITH_GAIN)
ROOTED = made(NONE, Rooted, **WITH_GAIN)
AUTOCAST_APART = formula(NONE, _autocast_apart, **IMAGES)
REASSIGNING = made(NONE, Reassigning, **STATED)
LOG_KEEPING = made(NONE, LogKeeping, **STATED)
NEVER_MOVED = made(NONE, Keeping, **STATED)
ZERO_DIVIDED = made(RMS, lambda channels: ZeroDivided())
STEEP_AT_ZERO = formula(RMS, lambda x: x / ((x * x).mean(-1, keepdim=True).sqrt() + 1e-5))
SIZED = formula(NONE, lambda x: x * len(x), **IMAGES)
UNCOUPLED = formula(NONE, lambda x: x, **IMAGES, couples_batch=True)
OTHER_ORDER_BACK = formula(NONE, _in_order, **IMAGES)
LEAVING_EARLY = made(NONE, LeavingEarly, **IMAGES | WITH_GAIN)
EMPTY_MEAN = made(NONE, EmptyMean, **IMAGES | WITH_GAIN)
FEW_CHANNELS = formula(LAYER, _few_channels, axes={"NCHW": ("C",)})
CONSTANTS_APART = formula(NONE, _constants_apart, **IMAGES)
NOTHING_LEARNED = formula(LAYER, _layer, affine="gamma")
REORDERING = formula(NONE, lambda x: x.contiguous(), **IMAGES)
GIVING_NO_REASONS = replace(UNCOUPLED, exemptions=lambda options: None)

EPS_OF_TYPE = formula(RMS, lambda x: _root(x, torch.finfo(x.dtype).eps), wide=False)
NONE_BUILT = made(LAYER, lambda channels: None)
WRONG_BUILD = replace(LAYER, build=lambda slot: nn.LayerNorm(slot.channels))
RAISING = formula(LAYER, lambda x: {}["weird"])
REFUSING = replace(LAYER, refuse=lambda slot: None)

LEARNED = {"affine": "gamma and beta", "parameters": {"weight": "C", "bias": "C"}}
WELL_STATED = made(LAYER, nn.LayerNorm, **LEARNED)
OTHER_NAME = made(LAYER, nn.LayerNorm, **LEARNED | {"parameters": {"gamma": "C", "bias": "C"}})
OTHER_SIZE = made(LAYER, nn.LayerNorm, **LEARNED | {"parameters": {"weight": "C 2", "bias": "C"}})
LEFT_OUT = made(LAYER, nn.LayerNorm, **LEARNED | {"parameters": {"weight": "C"}})
NOT_STATED = made(LAYER, nn.LayerNorm, **LEARNED | {"parameters": {}})
OTHER_BUFFER = made(BATCH, nn.BatchNorm1d, **LEARNED, buffers={**BATCH.buffers, "running_mean": "1"})
MORE_ADDED = replace(WEIGHT, parameters={"original0": "C", "original1": "C F"})
LESS_ADDED = replace(WEIGHT, parameters={"original0": "F"})

IDLE = nn.Identity()
NUMBER = 3
NOTHING = None


class Bare(nn.Module):
    """Says nothing of itself; a base for modules that are named by their class."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True)


class OtherInEvaluation(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else 2 * x


class Writing(Bare):
    """Writes into its input."""

    def forward(self, x: Tensor) -> Tensor:
        x -= x.mean(1, keepdim=True)
        return x


class Noisy(Bare):
    """Draws from torch in training."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.randn_like(x) if self.training else super().forward(x)


class NoisyElsewhere(Bare):
    """Draws from NumPy and Python, in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float(np.random.rand() + random.random())  # noqa: NPY002


class Counting(Bare):
    """What it gives depends on how often any of its kind was called."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Counting.calls += 1
        return super().forward(x) * Counting.calls


class Severed(Bare):
    """Its output is cut off from autograd."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class IdleParameter(Bare):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gain = nn.Parameter(torch.ones(channels))


class GainAlone(IdleParameter):
    """Gradients reach its parameter and not its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach() * self.gain[0]


class Uncompiled(Bare):
    """Refuses to be compiled; torch then runs it as it is."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            raise RuntimeError("not for compilers")
        return super().forward(x)


class Exiting(Bare):
    def forward(self, x: Tensor) -> Tensor:
        sys.exit(0)


class ExitingInEvaluation(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else sys.exit(0)


class Weird(Bare):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("weird")


class Printing(Bare):
    def forward(self, x: Tensor) -> Tensor:
        print("noise")
        return super().forward(x)


def eight_groups(channels: int) -> nn.Module:
    """Needs channels that 8 divides, and more of them where there are no positions."""
    return norms.GroupNorm(8, channels)


def torch_groups(channels: int) -> nn.Module:
    """torch's own, whose gradients are nan where there are no positions."""
    return nn.GroupNorm(2, channels)


def bare_batch(channels: int) -> nn.Module:
    """No entry at all: a function of the channels."""
    return nn.BatchNorm2d(channels)
