"""The least that the arithmetic can take: counted operations and bytes over this machine's measured peaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

from speed.job import Job

# Operations for each element of an activation: forward (mean 1, centre 1, variance 2, scale 1, gamma and beta 2)
# and backward (gamma 2, beta 1, two sums 3, input 5).
NORM = 7 + 11
ACTIVATION = 2
ADAM = 13  # for each parameter: moments 3 + 4, root, sum, quotient, product, difference, bias corrections 2
CROSS_ENTROPY = 10  # for each logit, forward and backward


@dataclass(frozen=True)
class Peaks:
    """What this machine reached: float32 operations and bytes copied per second, all threads."""

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class Floor:
    """What one step of one replica costs at the least."""

    operations: float
    bytes: float
    microseconds: float


def measure_peaks(side: int, megabytes: int, repeats: int = 5) -> Peaks:
    """The best of several large matrix products, and of several large copies (read and written bytes counted)."""
    left, right, product = (torch.rand(side, side) for _ in range(3))
    source = torch.zeros(megabytes * 2**18)
    target = torch.empty_like(source)
    flops = 2 * side**3 / _best(lambda: torch.mm(left, right, out=product), repeats)
    bandwidth = 2 * source.nbytes / _best(lambda: target.copy_(source), repeats)
    return Peaks(flops, bandwidth)


def _best(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times)


def floor_of(job: Job, peaks: Peaks) -> Floor:
    """The floor of a job: weights and moments stay in the cache, so only the batches and the order count as bytes."""
    operations, batch = count_operations(job), len(job.inputs) / job.steps_per_epoch
    moved = batch * (job.inputs[0].nbytes + 8 + 8) + 4  # inputs, target, place in the order; the loss
    seconds = max(operations / peaks.flops, moved / peaks.bandwidth)
    return Floor(operations, moved, seconds * 1e6)


def count_operations(job: Job) -> float:
    """Operations of one training step with a batch of mean size, from the shapes that one forward pass shows."""
    model = job.model()
    counted: list[float] = []
    products: list[float] = []

    def see(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            products.append(2.0 * result.numel() * module.weight[0].numel())
            counted.append(2.0 * result.numel())  # the bias, and its gradient
        elif isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
            counted.append(NORM * result.numel())
        elif isinstance(module, nn.ReLU | nn.Tanh | nn.GELU | nn.SiLU | nn.MaxPool2d | nn.AvgPool2d):
            counted.append(ACTIVATION * given[0].numel())

    for module in model.modules():
        module.register_forward_hook(see)
    rows = job.training.batch_size
    with torch.no_grad():
        logits = model(torch.from_numpy(job.inputs[:rows]))
    matrix = 3 * sum(products) - products[0]  # forward, gradients of weights and inputs; none of the data's
    mean_batch = min(1.0, len(job.inputs) / job.steps_per_epoch / rows)
    per_batch = matrix + sum(counted) + CROSS_ENTROPY * logits.numel()
    return float(per_batch * mean_batch + ADAM * sum(value.numel() for value in model.parameters()))
