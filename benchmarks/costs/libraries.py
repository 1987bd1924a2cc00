"""Layers of torch and timm beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from costs.vision import import_torchvision
from normlab.norms.slot import Layout, Slot

SAME_EPS = {"eps": torch.finfo(torch.float32).eps}  # of torch's RMSNorm
# timm's classes by name, each with the arguments behind the number of channels.
_TIMM: Mapping[tuple[str, Layout], tuple[str, Mapping[str, Any]]] = {
    ("layer", "NLC"): ("LayerNorm", {"eps": 1e-5}),
    ("rms", "NLC"): ("RmsNorm", SAME_EPS),
    ("rms", "NCHW"): ("RmsNorm2d", SAME_EPS),
    ("layer2d", "NCHW"): ("LayerNorm2d", {"eps": 1e-5}),
    ("group", "NCHW"): ("GroupNorm", {"num_groups": 32}),
    ("batch", "NCHW"): ("BatchNormAct2d", {"apply_act": False}),
    ("evonorm-b0", "NCHW"): ("EvoNorm2dB0", {}),
    ("evonorm-s0", "NCHW"): ("EvoNorm2dS0", {}),
    ("frn", "NCHW"): ("FilterResponseNormTlu2d", {}),
}


def of_torch(name: str, slot: Slot) -> Callable[[], nn.Module] | None:
    """How to make torch's own layer, where there is one."""
    c = slot.channels
    known: Mapping[tuple[str, str], Callable[[], nn.Module]] = {
        ("layer", "NLC"): lambda: nn.LayerNorm(c),
        ("rms", "NLC"): lambda: nn.RMSNorm(c),
        ("batch", "NCHW"): lambda: nn.BatchNorm2d(c),
        ("group", "NCHW"): lambda: nn.GroupNorm(32, c),
        ("instance", "NCHW"): lambda: nn.InstanceNorm2d(c),
        ("layer-chw", "NCHW"): lambda: nn.LayerNorm((c, *slot.extent)),
    }
    return known.get((name, slot.layout))


def of_timm(name: str, slot: Slot) -> Callable[[], nn.Module] | None:
    """How to make timm's layer, where there is one."""
    theirs = _TIMM.get((name, slot.layout))
    if theirs is None:
        return None

    def make() -> nn.Module:
        import timm.layers

        layer: nn.Module = vars(timm.layers)[theirs[0]](slot.channels, **theirs[1])
        return layer

    return make


@cache
def why_no_timm() -> str:
    """Why timm cannot be imported, or nothing."""
    try:
        import_torchvision()
        import timm.layers  # noqa: F401
    except Exception as error:
        return f"timm cannot be imported ({type(error).__name__}: {str(error).splitlines()[0]})"
    return ""
