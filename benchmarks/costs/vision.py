"""torchvision, which timm and transformers import, also where it is built for another torch than is installed."""

from __future__ import annotations

import sys
from importlib import import_module

import torch


def import_torchvision() -> None:
    """Imports torchvision, if it is there.

    Built for another torch (with CUDA, say, where torch is without), it finds none of its compiled operators, and
    fails where it describes two of them. Layers need neither: it is enough that they are declared.

    Raises:
        RuntimeError: it cannot be imported for another reason.
    """
    try:
        import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float least) -> Tensor")
        import_module("torchvision")
