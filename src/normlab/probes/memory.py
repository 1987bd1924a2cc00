"""The memory that a step of training needs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from normlab.probes.spec import Probe, Quantity, Snapshot
from normlab.probes.surface import undisturbed
from normlab.tasks.losses import OutputFunction
from normlab.tasks.samples import Samples, call, take
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import nn


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``step_memory``, in megabytes."""
    closeup = now.closeup()
    samples = take(closeup.parts["training"], slice(closeup.batch_size))
    return {"step_memory": step_bytes(closeup.model, closeup.loss.compute, samples) / 1e6}


def step_bytes(model: nn.Module, loss: OutputFunction, samples: Samples) -> int:
    """Bytes that a step needs: parameters, buffers, batch, and the most that both passes hold at one time.

    That are activations and gradients; on a GPU as its allocator counts them, on the CPU the tensors that torch's
    operations make. What a kernel allocates within itself is left out on the CPU, and so is the optimizer's state.

    Arguments:
        model: the model; it is as before afterwards, and without gradients.
        loss: of outputs and targets.
        samples: a batch.

    >>> import torch
    >>> layer = torch.nn.Linear(256, 256, bias=False)
    >>> samples = torch.zeros(1, 256), torch.zeros(1, 256)
    >>> weight, batch = 4 * 256**2, 2 * 4 * 256  # and as much for the gradient; outputs are small beside it
    >>> 2 * weight + batch < step_bytes(layer, torch.nn.functional.mse_loss, samples) < 2.1 * weight + batch
    True
    """
    inputs, targets = samples
    tensors = (*(inputs.values() if isinstance(inputs, Mapping) else (inputs,)), targets)
    every = (*model.parameters(), *model.buffers(), *tensors)
    kept: dict[int, int] = {tensor.data_ptr(): tensor.nbytes for tensor in every}

    def step() -> None:
        loss(call(model, inputs), targets).backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)

    model.zero_grad(set_to_none=True)
    with undisturbed(model):
        return sum(kept.values()) + most_held(step, targets.device)


def most_held(work: Callable[[], None], device: torch.device) -> int:
    """The most bytes that tensors which ``work`` makes hold at one time."""
    import torch

    if device.type == "cuda":
        work()  # the first call of a kernel allocates workspaces that stay
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return int(torch.cuda.max_memory_allocated(device)) - before
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes: dict[int, int] = {}  # of the memory that is in use, by its address; 0 of what was there before
    most = 0

    def see(value: Any, *, is_made: bool) -> None:
        for tensor in tensors_of(value):
            storage = tensor.untyped_storage()
            address = storage.data_ptr()
            if address and address not in sizes:
                sizes[address] = storage.nbytes() if is_made else 0
                weakref.finalize(storage, sizes.pop, address, None)  # the next tensor may get the same address

    class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal most
            see((args, kwargs), is_made=False)
            result = func(*args, **(kwargs or {}))
            see(result, is_made=True)
            most = max(most, sum(sizes.values()))
            return result

    with Allocations():  # type: ignore[no-untyped-call]
        work()
    return most


MEMORY = Probe(
    "memory",
    "memory that a step of training needs",
    "shares",
    measure,
    needs=frozenset({"closeup"}),
    shares=(0.0,),
    series=(
        Quantity(
            "step_memory",
            "memory of a step",
            "megabytes of parameters, buffers and a batch, with the most activations and gradients that a step holds "
            "at one time; without the optimizer's state",
            unit="MB",
        ),
    ),
)
