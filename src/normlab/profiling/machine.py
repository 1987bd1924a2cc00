"""The machine that a profile comes from, in words that name no person, host or folder."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from normlab.machine import processor, usable_cores

if TYPE_CHECKING:
    import torch


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Processor, threads and versions; the GPU where one is used."""
    import torch

    machine: dict[str, str | int] = {
        "processor": processor(),
        "cores": usable_cores(),
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "normlab": version("normlab"),
    }
    if large_pages():
        machine["large_pages"] = "THP_MEM_ALLOC_ENABLE=1"
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def large_pages() -> bool:
    """Whether torch asks the system for large pages, which makes fresh tensors on the CPU several times cheaper."""
    return os.environ.get("THP_MEM_ALLOC_ENABLE", "0") not in ("", "0")
