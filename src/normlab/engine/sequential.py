"""The oracle: one run after the other in ordinary PyTorch, on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from normlab.engine.environment import describe
from normlab.engine.snapshot import TorchSnapshot, tensors
from normlab.engine.spec import Engine
from normlab.engine.start import Start, prepare
from normlab.probes.catalog import PROBES
from normlab.probes.spec import Moment
from normlab.records import Cohort, Outcome, Run, Series, Setting

if TYPE_CHECKING:
    from torch import nn, optim


class Sequential(Engine):
    """Plain PyTorch: builds the model, loops over the batches, calls loss, backward and step."""

    name = "sequential"

    def supports(self, cohort: Cohort) -> str | None:
        return None

    def part_size(self, cohort: Cohort) -> int:
        return 1

    def train(self, cohort: Cohort, device: str) -> Iterator[Outcome]:
        for run in cohort.runs():
            with _one_thread():
                yield _train_run(run, device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are ordered by the number of threads, so one thread gives the same bits everywhere."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Recorder:
    """Collects what the probes measure, by series name."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[list[int], list[float]]] = {}

    def measure(self, moment: Moment, now: TorchSnapshot, step: int) -> None:
        for probe in PROBES:
            if probe.moment == moment:
                for name, value in probe.measure(now).items():
                    steps, values = self.values.setdefault(name, ([], []))
                    steps.append(step)
                    values.append(value)

    def series(self) -> dict[str, Series]:
        return {
            name: Series(np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64))
            for name, (steps, values) in self.values.items()
        }


def _train_run(run: Run, device: str) -> Outcome:
    """Trains one run; an error becomes the outcome ``failed``, a non-finite loss ``diverged``."""
    start = prepare(run)
    recorder = _Recorder()
    seconds: list[float] = []
    parameters = 0
    status, reason, stopped_at = "finished", "", None
    try:
        model = build_model(run, start, device)
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        for step, problem in enumerate(_steps(run, start, model, device, recorder, seconds)):
            if problem:
                status, reason, stopped_at = "diverged", problem, step
    except Exception as error:
        status, reason, stopped_at = "failed", f"{type(error).__name__}: {error}", len(seconds)
    return Outcome(
        run=run,
        status=status,
        series=recorder.series(),
        parameters=parameters,
        batch_hash=start.batch_hash,
        seconds_per_step=median(seconds) if seconds else float("nan"),
        environment=describe("sequential", device, ("torch", "numpy")),
        reason=reason,
        stopped_at=stopped_at,
    )
