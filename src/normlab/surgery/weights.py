"""Weights of a model as a file that runs no code when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.files import check_writable, write_file

if TYPE_CHECKING:
    from torch import nn


SUFFIX = ".safetensors"


def require_file(path: Path | None) -> None:
    """Refuses a file for weights whose name, or folder, cannot be used, before any work is done.

    Raises:
        InputError: it ends otherwise, or nothing can be written into its folder.
    """
    if path is None:
        return
    if path.suffix != SUFFIX:
        raise InputError(f"`out` must end with {SUFFIX}", repr(str(path)), f"Try `out={path.with_suffix(SUFFIX)}`.")
    check_writable(path.parent)


def write_weights(model: nn.Module, path: Path) -> None:
    """Writes the state dict of a model as safetensors, whole or not at all; a tensor under two names twice.

    Raises:
        InputError: the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    write_file(path, save(tensors, metadata={"format": "pt"}))
