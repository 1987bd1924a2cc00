"""The oracle: one run after the other in ordinary PyTorch, on one thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.engine.environment import describe
from normlab.engine.memory import keep_freed_memory
from normlab.engine.objective import objective
from normlab.engine.snapshot import TorchSnapshot
from normlab.engine.spec import Engine
from normlab.engine.start import Start, prepare
from normlab.norms.catalog import parse
from normlab.norms.fitting import fit, weight_parameters
from normlab.norms.population import running_layers
from normlab.probes.catalog import PROBES
from normlab.probes.spec import Moment, Snapshot
from normlab.records import Cohort, Outcome, Run, Series, Setting, Status
from normlab.tasks.catalog import find_task
from normlab.tasks.data import Part
from normlab.tasks.dropout import dropout_type

if TYPE_CHECKING:
    from torch import Tensor, nn, optim

    Samples = tuple[Tensor, Tensor]


class Sequential(Engine):
    """Plain PyTorch: builds the model, loops over the batches, calls loss, backward and step."""

    name = "sequential"
    title = "sequential (plain PyTorch, one run after the other)"

    def supports(self, cohort: Cohort) -> str | None:
        return population_obstacle(cohort)

    def part_size(self, cohort: Cohort, device: str = "cpu") -> int:
        return 1

    def train(self, cohort: Cohort, device: str) -> Iterator[Outcome]:
        for run in cohort.runs():
            with one_thread():
                yield _train_run(run, device)


def population_obstacle(cohort: Cohort) -> str | None:
    """Why the norm of a cohort cannot be evaluated with population statistics, or None."""
    norm = parse(cohort.norm)
    if not norm.spec.couples_batch:
        return None
    if running_layers(norm.build(find_task(cohort.task).slots(cohort.setting)[0])):
        return None
    return (
        f"{norm} couples the samples of a batch but keeps no running statistics (torch's BatchNorm and every "
        "normlab.norms.RunningStatistics do), so it has no population statistics to be evaluated with"
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums are ordered by the number of threads, so one thread gives the same bits everywhere."""
    import torch

    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class Record:
    """What is known of a run so far."""

    values: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    parameters: int = 0
    status: Status = "finished"
    reason: str = ""
    stopped_at: int | None = None

    def measure(self, moment: Moment, now: Snapshot, step: int) -> None:
        for probe in PROBES:
            if probe.moment == moment:
                for name, value in probe.measure(now).items():
                    steps, values = self.values.setdefault(name, ([], []))
                    steps.append(step)
                    values.append(value)

    def stop(self, status: Status, reason: str, step: int) -> None:
        self.status, self.reason, self.stopped_at = status, reason, step

    def finite(self, name: str, step: int) -> bool:
        """Whether the newest value of a series is finite; if it is not, the run has diverged."""
        value = self.values[name][1][-1]
        if not isfinite(value):
            self.stop("diverged", f"{name} became {value} at step {step}", step)
        return isfinite(value)

    def series(self) -> dict[str, Series]:
        return {
            name: Series(np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64))
            for name, (steps, values) in self.values.items()
        }


def _train_run(run: Run, device: str) -> Outcome:
    """Trains one run; an error becomes the outcome ``failed``, a non-finite loss ``diverged``."""
    import torch

    start = prepare(run)
    record = Record()
    try:
        with torch.random.fork_rng(devices=[] if device == "cpu" else [device]):
            torch.manual_seed(start.norm_seed)
            model = build_model(start, run.setting, device)
            record.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
            _train(run, start, model, record, device)
    except Exception as error:  # a norm or model of the user's may raise anything; the other runs go on
        record.stop("failed", f"{type(error).__name__}: {error}", len(record.seconds))
    return Outcome(
        run=run,
        status=record.status,
        series=record.series(),
        parameters=record.parameters,
        batch_hash=start.batch_hash,
        seconds_per_step=median(record.seconds) if record.seconds else float("nan"),
        environment=describe("sequential", device, ("torch", "numpy")),
        reason=record.reason,
        stopped_at=record.stopped_at,
    )


def build_model(start: Start, setting: Setting, device: str) -> nn.Module:
    """The model of a run with its initial weights and the norm fitted in, in training mode."""
    import torch

    model = start.task.model(setting, start.norm.build).to(device=device, dtype=getattr(torch, setting.dtype))
    with torch.no_grad():
        for name, value in start.weights.items():
            model.get_parameter(name).copy_(torch.from_numpy(value))
    fit(model, start.norm, start.task.slots(setting))
    return model.train()


def build_optimizer(model: nn.Module, start: Start, setting: Setting) -> optim.Optimizer:
    """The optimizer of a run."""
    return make_optimizer(dict(model.named_parameters()), decayed_parameters(model, start), setting)


def decayed_parameters(model: nn.Module, start: Start) -> set[str]:
    """The names of those that weight decay is for: weight matrices and kernels, nothing of a norm and no biases."""
    return set(weight_parameters(model, (name for name, value in start.weights.items() if value.ndim > 1)))


def make_optimizer(
    parameters: Mapping[str, Tensor], decayed: set[str], setting: Setting, fused: bool | None = None
) -> optim.Optimizer:
    """Torch's optimizer for the setting; ``fused`` asks for its kernel that makes a step in one pass."""
    from torch import optim

    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in parameters.items() if name in decayed]},
        {"params": [p for name, p in parameters.items() if name not in decayed], "weight_decay": 0.0},
    ]
    rate, decay = setting.learning_rate, setting.weight_decay
    if setting.optimizer == "sgd":
        how = {"momentum": setting.momentum, "nesterov": setting.nesterov}
        return optim.SGD(groups, lr=rate, weight_decay=decay, fused=fused, **how)  # type: ignore[arg-type]
    kind = optim.Adam if setting.optimizer == "adam" else optim.AdamW
    return kind(groups, lr=rate, weight_decay=decay, fused=fused)


def _train(run: Run, start: Start, model: nn.Module, record: Record, device: str) -> None:
    optimizer = build_optimizer(model, start, run.setting)
    learned = Part(start.data.training.inputs, start.classes)
    parts = _samples({"training": learned, **start.data.held_out}, run.setting, device)
    inputs, targets = parts["training"]
    steps_per_epoch = run.setting.steps_per_epoch(len(inputs))
    noise_at = set(run.measure.noise_at(run.setting.epochs * steps_per_epoch).tolist())
    held_out, loss_name = tuple(start.data.held_out), run.setting.loss

    record.measure("evaluation", TorchSnapshot(model, parts, held_out, objective=loss_name), 0)
    for step, samples in enumerate(start.batches(run.setting)):
        batch = inputs[samples], targets[samples]
        _drop(model, start, run.setting, step, len(samples), device)
        began = perf_counter()
        optimizer.zero_grad()
        loss = objective(loss_name, model(batch[0]), batch[1])
        loss.backward()  # type: ignore[no-untyped-call]
        training_loss = loss.item()
        computed = perf_counter()

        now = TorchSnapshot(model, {"training": parts["training"], "batch": batch}, (), training_loss, loss_name)
        record.measure("step", now, step)
        if not record.finite("training_loss", step):
            return
        if step in noise_at:
            record.measure("tail", now, step)

        resumed = perf_counter()
        optimizer.step()
        record.seconds.append(perf_counter() - resumed + computed - began)
        if (step + 1) % steps_per_epoch == 0:
            record.measure("evaluation", TorchSnapshot(model, parts, held_out, objective=loss_name), step + 1)
            if not record.finite("canonical_loss", step + 1):
                return


def _drop(model: nn.Module, start: Start, setting: Setting, step: int, samples: int, device: str) -> None:
    """Gives the dropout layers their masks for this step."""
    import torch

    layers = [layer for layer in model.modules() if isinstance(layer, dropout_type())] if setting.dropout else []
    scale = 1 / (1 - setting.dropout)
    for layer, kept in zip(layers, start.kept(setting, step), strict=True):
        mask = torch.from_numpy(kept[:samples]).to(device, getattr(torch, setting.dtype))
        layer.register_buffer("mask", mask * scale, persistent=False)


def _samples(parts: Mapping[str, Part], setting: Setting, device: str) -> dict[str, Samples]:
    import torch

    dtype = getattr(torch, setting.dtype)
    return {
        name: (torch.from_numpy(part.inputs).to(device, dtype), torch.from_numpy(part.targets).to(device))
        for name, part in parts.items()
    }
