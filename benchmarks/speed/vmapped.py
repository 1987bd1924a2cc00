"""Training all replicas at once in torch.func: ``vmap`` of ``grad``, eager and compiled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from time import perf_counter

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, grad_and_value, replace_all_batch_norm_modules_, vmap
from torch.nn.functional import cross_entropy

from speed.job import Contender, Job, Timed, Unavailable

Parameters = dict[str, Tensor]
Gradients = Callable[[Parameters, Tensor, Tensor], tuple[Parameters, Tensor]]
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def eager(job: Job) -> Contender:
    """Gradients of all replicas by ``vmap``, one fused Adam step for the stacked parameters."""
    gradients, begin = _prepare(job)

    def train() -> Timed:
        parameters = {name: value.requires_grad_() for name, value in begin().items()}
        optimizer = optim.Adam(parameters.values(), lr=job.training.learning_rate, fused=True)
        losses = []
        began = perf_counter()
        for inputs, targets in _batches(job):
            slopes, loss = gradients({name: value.detach() for name, value in parameters.items()}, inputs, targets)
            for name, value in parameters.items():
                value.grad = slopes[name]
            optimizer.step()
            losses.append(loss)
        found = torch.stack(losses, dim=1).numpy()
        return Timed(perf_counter() - began, found)

    return Contender("vmap", "torch.func vmap, eager", job.replicas, job.steps, train)


def compiled(job: Job) -> Contender:
    """The same with gradients and Adam as one compiled function."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        raise Unavailable("torch.compile needs a C++ compiler, and there is none on this machine")
    gradients, begin = _prepare(job)
    rate = job.training.learning_rate

    def step(
        weights: Parameters, first: Parameters, second: Parameters, count: Tensor, inputs: Tensor, targets: Tensor
    ) -> tuple[Parameters, Parameters, Parameters, Tensor]:
        slopes, loss = gradients(weights, inputs, targets)
        size = rate / (1 - BETA1**count)
        root = (1 - BETA2**count).sqrt()
        first = {name: BETA1 * first[name] + (1 - BETA1) * slope for name, slope in slopes.items()}
        second = {name: BETA2 * second[name] + (1 - BETA2) * slope * slope for name, slope in slopes.items()}
        weights = {
            name: value - size * first[name] / (second[name].sqrt() / root + EPS) for name, value in weights.items()
        }
        return weights, first, second, loss

    fast = torch.compile(step, dynamic=False)
    counts = torch.arange(1, job.steps + 1, dtype=torch.float32).unbind()

    def train() -> Timed:
        weights = begin()
        first = {name: torch.zeros_like(value) for name, value in weights.items()}
        second = {name: torch.zeros_like(value) for name, value in weights.items()}
        losses = []
        began = perf_counter()
        with torch.no_grad():
            for count, (inputs, targets) in zip(counts, _batches(job), strict=True):
                weights, first, second, loss = fast(weights, first, second, count, inputs, targets)
                losses.append(loss)
        found = torch.stack(losses, dim=1).numpy()
        return Timed(perf_counter() - began, found)

    return Contender("compiled", "torch.func vmap, torch.compile", job.replicas, job.steps, train)


def _prepare(job: Job) -> tuple[Gradients, Callable[[], Parameters]]:
    """Gradients and losses of all replicas, and a fresh copy of the initial parameters."""
    model = job.model()
    replace_all_batch_norm_modules_(model)  # running statistics are left out, in this contender's favour

    def loss(parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(functional_call(model, parameters, (inputs,)), targets)

    def begin() -> Parameters:
        given = {name: torch.from_numpy(value) for name, value in job.weights.items()}
        return {name: _stacked(name, value, given, job.replicas) for name, value in model.named_parameters()}

    return vmap(grad_and_value(loss)), begin


def _stacked(name: str, value: nn.Parameter, given: Parameters, replicas: int) -> Tensor:
    return given[name].clone() if name in given else value.detach().expand(replicas, *value.shape).clone()


def _batches(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    inputs, targets, order = (torch.from_numpy(array) for array in (job.inputs, job.targets, job.order))
    for epoch in range(job.training.epochs):
        for batch in torch.split(order[:, epoch], job.training.batch_size, dim=1):
            yield inputs[batch], targets[batch]
