"""Layers of libraries whose kernels run on no CPU, told by their class and by what they hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from normlab.norms.options import OptionValue
from normlab.recognition.formulas import EPS_NAMES, groups_in, tensors_in
from normlab.recognition.known import Facts
from normlab.recognition.spec import Affine

if TYPE_CHECKING:
    from torch import nn

PACKAGES = ("apex", "flash_attn", "liger_kernel", "transformer_engine", "xformers")
KINDS = (("rms", r"RMSNorm"), ("layer", r"LayerNorm"), ("group", r"GroupNorm"), ("dyt", r"DyT|DynamicTanh"))
OFFSETS = ("offset", "zero_centered_gamma", "zero_centered_weight")  # gamma is this much more than the weight


def structure(module: nn.Module) -> Facts | None:
    """What a layer of one of these libraries computes by what its class is called there; None for any other.

    To be asked where the layer cannot be run by itself: its name alone would be no proof.

    Arguments:
        module: the layer.
    """
    path, name = type(module).__module__, type(module).__name__
    kind = next((kind for kind, pattern in KINDS if re.search(pattern, name)), "")
    if path.partition(".")[0] not in PACKAGES or not kind:
        return None
    vectors = {name: tensor for name, tensor in tensors_in(module).items() if tensor.dim() == 1 and name != "alpha"}
    weight = next((name for name in ("weight", "gamma") if name in vectors), "")
    bias = next((name for name in ("bias", "beta") if name in vectors), "")
    if not weight or len(vectors) != bool(weight) + bool(bias):
        return None
    options: dict[str, OptionValue] = {}
    if kind == "group":
        if not groups_in(module):
            return None
        options["groups"] = groups_in(module)
    if kind != "dyt":
        eps = next(
            (getattr(module, name) for name in EPS_NAMES if isinstance(getattr(module, name, None), float)), None
        )
        if eps is None:
            return None
        options["eps"] = eps
    offset = float(next((getattr(module, name) for name in OFFSETS if hasattr(module, name)), 0.0))
    return {
        "kind": kind,
        "options": options,
        "channels": vectors[weight].numel(),
        "order": "first" if kind == "group" else "last",
        "affine": Affine(weight, bias, offset),
    }
