"""Training one replica after the other in a PyTorch loop: as it was published, and without the DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np
import torch
from torch import nn, optim
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from speed.job import Contender, Job, Timed


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch with that many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def published(job: Job) -> Contender:
    """The published loop, DataLoader and all, on torch's own number of threads and its own random numbers."""
    job = job.only(1)
    inputs, targets = torch.from_numpy(job.inputs), torch.from_numpy(job.targets)

    def train() -> Timed:
        torch.manual_seed(0)
        model = job.model()
        loader = DataLoader(TensorDataset(inputs, targets), batch_size=job.training.batch_size, shuffle=True)
        criterion = nn.CrossEntropyLoss()
        optimizer = optim.Adam(model.parameters(), lr=job.training.learning_rate)
        losses = []
        began = perf_counter()
        for _ in range(job.training.epochs):
            for batch_inputs, batch_targets in loader:
                model.train()
                optimizer.zero_grad()
                outputs = model(batch_inputs)
                loss = criterion(outputs, batch_targets)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return Timed(perf_counter() - began, np.array([losses]))

    title = f"published loop (DataLoader, {torch.get_num_threads()} threads)"
    return Contender("published", title, 1, job.steps, train, comparable=False)


def bare(job: Job, count: int = 1) -> Contender:
    """The shortest PyTorch loop: batches from a permutation that is already there."""
    job = job.only(1)
    inputs, targets = torch.from_numpy(job.inputs), torch.from_numpy(job.targets)
    batches = [torch.from_numpy(batch) for batch in job.states[0].batches()]

    def train() -> Timed:
        model = job.model()
        with torch.no_grad():
            for name, value in job.weights.items():
                model.get_parameter(name).copy_(torch.from_numpy(value[0]))
        optimizer = optim.Adam(model.parameters(), lr=job.training.learning_rate)
        losses = []
        with threads(count):
            began = perf_counter()
            for batch in batches:
                optimizer.zero_grad()
                loss = cross_entropy(model(inputs[batch]), targets[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
            seconds = perf_counter() - began
        return Timed(seconds, np.array([losses]))

    title = f"bare PyTorch loop, {count} thread{'s' if count > 1 else ''}"
    return Contender(f"loop{count}", title, 1, job.steps, train)
