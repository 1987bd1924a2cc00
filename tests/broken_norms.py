"""Norms with one planted mistake each, which the checks must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from normlab.norms.batch import BATCH
from normlab.norms.layer import LAYER, RMS
from normlab.norms.none import NONE
from normlab.norms.spec import NormSpec


def made(base: NormSpec, module: Callable[[int], nn.Module], **claims: Any) -> NormSpec:
    """``base`` on N,C input with another module, without learned parameters unless said otherwise."""
    fields = {"axes": {"NC": base.axes["NC"]}, "affine": "none", "options": (), "invariances": frozenset(), **claims}
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


def _compiled_apart(x: Tensor) -> Tensor:
    return 1.5 * x if torch.compiler.is_compiling() else x


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

IDLE = nn.Identity()
NUMBER = 3


def bare_batch(channels: int) -> nn.Module:
    """No entry at all: a function of the channels."""
    return nn.BatchNorm2d(channels)
