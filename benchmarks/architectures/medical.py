"""Models of MONAI, for volumes and images."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from architectures.spec import Architecture

_IN_OUT: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_VOLUME = {**_IN_OUT, "spatial_dims": 3}
_STEPS = {"channels": (4, 8, 16), "strides": (2, 2)}


def _model(name: str, size: int, sizes: dict[str, Any]) -> tuple[nn.Module, Any]:
    nets: Any = import_module("monai.networks.nets")
    axes = sizes["spatial_dims"]
    return getattr(nets, name)(**sizes), (torch.randn(2, 1, *[size] * axes),)


_MODELS: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
    ("monai-unet", "UNet", 16, {**_IN_OUT, **_STEPS, "num_res_units": 1}),
    ("monai-unet-batch", "UNet", 16, {**_VOLUME, **_STEPS, "norm": "batch"}),
    ("monai-attention-unet", "AttentionUnet", 16, {**_IN_OUT, **_STEPS}),
    ("monai-basic-unet", "BasicUNet", 32, {**_IN_OUT, "features": (4, 4, 8, 8, 16, 4)}),
    ("monai-segresnet", "SegResNet", 16, {**_IN_OUT, "init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)}),
    (
        "monai-dynunet",
        "DynUNet",
        16,
        {
            **_VOLUME,
            "kernel_size": [3, 3, 3],
            "strides": [1, 2, 2],
            "upsample_kernel_size": [2, 2],
            "filters": [4, 8, 16],
        },
    ),
    ("monai-vnet", "VNet", 16, _IN_OUT),
    (
        "monai-densenet",
        "DenseNet",
        32,
        {**_IN_OUT, "init_features": 8, "growth_rate": 4, "block_config": (2, 2)},
    ),
    (
        "monai-unetr",
        "UNETR",
        32,
        {
            **_IN_OUT,
            "img_size": 32,
            "feature_size": 4,
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_heads": 2,
        },
    ),
    (
        "monai-swin-unetr",
        "SwinUNETR",
        64,
        {**_IN_OUT, "feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (2, 2, 2, 2)},
    ),
)
_NEEDS = {"monai-unetr": ("einops",), "monai-swin-unetr": ("einops",)}
_GATES = r".*attention\.psi\.1"  # of a single channel, which LayerNorm would turn into beta
_WHERE = {"monai-attention-unet": {"*": True, f"re:{_GATES}": False}}
_LEFT = {"monai-attention-unet": ((_GATES, "left out"),)}
ARCHITECTURES = tuple(
    Architecture(
        *(name, "monai", partial(_model, kind, size, sizes)),
        left=_LEFT.get(name, ()),
        where=_WHERE.get(name),
        needs=_NEEDS.get(name, ()),
    )
    for name, kind, size, sizes in _MODELS
)
