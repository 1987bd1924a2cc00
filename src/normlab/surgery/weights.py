"""Weights of a model as a file that runs no code when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from normlab.files import write_file

if TYPE_CHECKING:
    from torch import nn


def write_weights(model: nn.Module, path: Path) -> None:
    """Writes the state dict of a model as safetensors, whole or not at all; a tensor under two names twice.

    Raises:
        InputError: the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    write_file(path, save(tensors, metadata={"format": "pt"}))
