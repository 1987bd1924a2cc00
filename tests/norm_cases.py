"""Every norm of the catalogue in every layout that it has: what the contract tests walk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from oracles import FORMULAS, Given

SIZES = {"N": 4, "C": 6, "L": 5, "H": 3, "W": 2, "D": 2}
TEXTS = {
    spec.name: f"{spec.name}:groups=2" if any(option.name == "groups" for option in spec.options) else spec.name
    for spec in NORMS
}


def slot_of(layout: str) -> Slot:
    return Slot(SIZES["C"], layout, tuple(SIZES[axis] for axis in layout if axis not in "NC"))


CASES = [
    pytest.param(parse(text), layout, id=f"{name}-{layout}")
    for name, text in TEXTS.items()
    for layout in parse(text).spec.axes
    if parse(text).emptiness(slot_of(layout), SIZES["N"]) is None
]
VARIANTS = [  # options that change what is built
    "instance:affine=true",
    "batch:affine=false",
    "batch-renorm:affine=false",
    "mean-only-batch:affine=false",
    "batch-group:groups=4,affine=false",
    "batch-group:groups=9",
    "group:groups=3,affine=false",
    "layer2d:affine=false",
    "rms:affine=false",
    "frn:learned=true",
    "batch:bias=false",
    "ghost:size=2,bias=false",
    "batch-renorm:bias=false",
    "variance-only-batch:bias=false",
    "batch-group:groups=3,bias=false",
    "switchable:affine=false",
    "switchable:bias=false",
    "layer2d:bias=false",
    "group:groups=3,bias=false",
    "instance:affine=true,bias=false",
    "rms:share=0.5",
]
CHOSEN = {  # every option of a computation away from its default
    "batch:eps=0.2,momentum=0.3": "NCHW",
    "ghost:size=2,eps=0.2,momentum=0.3": "NCHW",
    "batch-renorm:start=0,rmax_at=0,dmax_at=0,rmax=1.2,dmax=0.1,eps=0.2,momentum=0.3": "NCHW",
    "mean-only-batch:momentum=0.3": "NCHW",
    "variance-only-batch:eps=0.2,momentum=0.3": "NCHW",
    "batch-group:groups=3,eps=0.2,momentum=0.3": "NCHW",
    "switchable:eps=0.2,momentum=0.3": "NCHW",
    "layer:eps=0.2": "NLC",
    "layer-chw:eps=0.2": "NCHW",
    "layer2d:eps=0.2": "NCHW",
    "pono:eps=0.2": "NCHW",
    "group:groups=3,eps=0.2": "NCHW",
    "instance:eps=0.2": "NCHW",
    "instance:affine=true,eps=0.2": "NCHW",
    "rms:eps=0.2": "NCHW",
    "scale:eps=3": "NCHW",
    "unit:eps=3": "NLC",
    "frn:eps=0.2": "NCHW",
    "frn:eps=0.2,learned=true": "NCHW",
    "evonorm-b0:eps=0.2,momentum=0.3": "NCHW",
    "evonorm-s0:groups=3,eps=0.2": "NCHW",
    "dyt:alpha=0.9": "NCHW",
    "derf:alpha=0.9,shift=0.3": "NCHW",
}
WITH_OPTIONS = [pytest.param(parse(text), layout, id=text) for text, layout in CHOSEN.items()]
WITH_VARIANTS = CASES + [pytest.param(parse(text), "NCHW", id=text) for text in VARIANTS]
FOUR_D = [case for case in CASES if case.values[1] == "NCHW"]


def some_input(layout: str, seed: int = 1, samples: int = SIZES["N"]) -> Tensor:
    """Random input whose channels have means and scales of their own."""
    generator = torch.Generator().manual_seed(seed)
    shape = [{**SIZES, "N": samples}[axis] for axis in layout]
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    across = [1] * len(layout)
    across[layout.index("C")] = SIZES["C"]
    channels = torch.arange(SIZES["C"], dtype=torch.float64).view(across)
    return x * (1 + channels / 3) + channels / 2 - 1


def built(norm: Norm, layout: str, seed: int | None = 7) -> nn.Module:
    """The layer in float64 and training mode; its parameters moved away from their start, or not (``seed`` None)."""
    layer = norm.build(slot_of(layout)).double().train()
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter += torch.rand(parameter.shape, generator=generator, dtype=torch.float64) / 2
    return layer


def arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().double().numpy().copy() for name, tensor in tensors.items()}


def by_formula(
    norm: Norm, layer: nn.Module, layout: str, x: Tensor, *, training: bool = True, state: dict | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Output and buffers by the formula, with the parameters of ``layer`` and its buffers or those of ``state``."""
    given = Given(
        x.detach().double().numpy(),
        layout,
        arrays(dict(layer.named_parameters())),
        arrays(dict(layer.named_buffers())) if state is None else state,
        {**norm.options, "machine_eps": min(torch.finfo(torch.float32).eps, torch.finfo(x.dtype).eps)},
        training,
    )
    return FORMULAS[norm.spec.name](given)
