"""Whether what is to be measured fits into the memory that is free."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.machine import free_memory
from normlab.tables import in_bytes

if TYPE_CHECKING:
    import torch

# Tensors of the shape, as measured. Torch's own norms need six: input and its gradient, output and its gradient, source
# and target of a copy. Of norms that are written out EvoNorm-B0 needs most: 14, always in float32.
LEAST_TENSORS, MOST_TENSORS, WIDE_BYTES = 6, 14, 4


def refuse_too_large(shapes: Iterable[tuple[int, ...]], item_bytes: int, every: bool, device: torch.device) -> None:
    """The tensors of each shape must fit into the memory that is free, before any of them is made.

    Arguments:
        shapes: the shapes to measure, one after the other.
        item_bytes: the bytes of a number.
        every: whether the whole catalogue is measured, and with it the norms that need most.
        device: where the tensors are.

    Raises:
        InputError: they do not fit. If they may not fit for norms that are written out alone, there is a warning.
    """
    free = free_bytes(device)
    largest = max(shapes, key=prod)
    least = LEAST_TENSORS * item_bytes * prod(largest)
    most = MOST_TENSORS * max(item_bytes, WIDE_BYTES) * prod(largest)
    need = most if every else least
    if free is None or most <= free:
        return
    sizes, where = ",".join(map(str, largest)), f"{device} has {in_bytes(free)} free"
    if need > free:
        advice = "Give a smaller batch or size, or a narrower `dtype`"
        raise InputError(
            "the tensors of a shape must fit into memory",
            f"{sizes}, which needs about {in_bytes(need)} where {where}",
            f"{advice}, or name the norms: some need less." if every and least <= free else f"{advice}.",
        )
    warnings.warn(
        f"{sizes} needs about {in_bytes(least)} for torch's own norms and up to {in_bytes(most)} for those that are "
        f"written out; {where}. If the system ends the process, give a smaller batch.",
        stacklevel=3,
    )


def refuse_input(shape: tuple[int, ...], item_bytes: int, device: torch.device) -> None:
    """An input of a model must fit into the memory that is free, before it is made.

    Raises:
        InputError: it does not.
    """
    free, need = free_bytes(device), item_bytes * prod(shape)
    if free is not None and need > free:
        given = f"{','.join(map(str, shape))}, {in_bytes(need)} where {device} has {in_bytes(free)} free"
        raise InputError("an input must fit into memory", given, "Give smaller `inputs`.")


def free_bytes(device: torch.device) -> int | None:
    """What can be allocated on a device; None where the system does not say."""
    import torch

    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    return free_memory()
