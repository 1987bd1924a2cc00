"""Small studies and norms that several tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, get_num_threads, nn, rand, set_num_threads

from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec
from normlab.plan import resolve
from normlab.probes.measure import Measure
from normlab.probes.spec import Probe, Snapshot
from normlab.recipe import Cohort, Recipe
from normlab.study.outcome import Outcome
from normlab.study.study import Study
from normlab.training import Training


def small_study(**values: Any) -> Study:
    """A study that trains in a second."""
    fields: dict[str, Any] = {
        "name": "small",
        "norms": ["none", "batch", "layer"],
        "tasks": ["article"],
        "seeds": 2,
        "training": Training(epochs=2),
        "measure": Measure(noise_steps=4),
    }
    return Study(**{**fields, **values})


def recipe_of(
    norm: Any = "batch", task: Any = "article", *, tail: float = 0.3, fixed_data: bool = False, **values: Any
) -> Recipe:
    """The recipe of one norm on one task; fields of the training, of the model and ``probes`` by name."""
    model = {name: value for name, value in values.items() if name not in Training.model_fields and name != "probes"}
    training = {name: value for name, value in values.items() if name in Training.model_fields}
    chosen = {"probes": values["probes"]} if "probes" in values else {}
    study = small_study(
        norms=[norm],
        tasks=[task],
        model=model,
        training=Training(**{"epochs": 2, **training}),
        measure=Measure(noise_steps=4, tail=tail, **chosen),
        fixed_data=fixed_data,
    )
    (recipe,) = resolve(study).recipes
    return recipe


def cohort_of(norm: Any = "batch", task: Any = "article", seeds: tuple[int, ...] = (0,), **values: Any) -> Cohort:
    """Runs of one norm on one task."""
    return Cohort(recipe_of(norm, task, **values), seeds)


def bits(outcome: Outcome) -> dict[str, bytes]:
    """All that was measured, to compare bit by bit."""
    return {name: series.steps.tobytes() + series.values.tobytes() for name, series in outcome.series.items()}


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Within it torch computes on that many threads."""
    before = get_num_threads()
    set_num_threads(number)
    try:
        yield
    finally:
        set_num_threads(before)


class Dithering(nn.Module):
    """Draws random numbers when built and in every forward pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain + 1e-3 * rand(x.shape) if self.training else x * self.gain


class Branching(nn.Module):
    """What it computes depends on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.std() if x.std() > 1 else x


class Exploding(nn.Module):
    """Its output is no number any more for replicas whose first weight passes a bound."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain / (self.gain[0] > 0.5)


class Failing(nn.Module):
    """Fails in the third training step."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls > 3:
            raise RuntimeError("the third call was too much")
        return x


class Growing(nn.Module):
    """From the fifth training step on its output is no number any more."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return x * (1.0 if self.calls < 5 else 1e38)


class Deadly(nn.Module):
    """Ends its process without a word."""

    def forward(self, x: Tensor) -> Tensor:
        os._exit(9)


class OwnBatch(nn.Module):
    """Normalizes over the batch without keeping any statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(dim=0)) / x.std(dim=0)


def _spec(name: str, build: Any, couples_batch: bool = False) -> NormSpec:
    return NormSpec(
        name=name,
        title=name,
        formula="",
        source="",
        axes={"NC": ()},
        centred=False,
        scaled=False,
        couples_batch=couples_batch,
        train="",
        evaluate="",
        suits="",
        breaks="",
        build=build,
    )


def _dithering(slot: Slot, options: Mapping[str, Any]) -> nn.Module:
    return Dithering(slot.channels)


def _exploding(slot: Slot, options: Mapping[str, Any]) -> nn.Module:
    return Exploding(slot.channels)


BRANCHING = _spec("branching", lambda slot, options: Branching())
EXPLODING = _spec("exploding", _exploding)
DITHERING = _spec("dithering", _dithering)
FAILING = _spec("failing", lambda slot, options: Failing())
GROWING = _spec("growing", lambda slot, options: Growing())
OWN_BATCH = _spec("own-batch", lambda slot, options: OwnBatch(), couples_batch=True)
UNBUILDABLE = _spec("unbuildable", lambda slot, options: nn.LayerNorm(1 / 0), couples_batch=True)
DEADLY = _spec("deadly", lambda slot, options: Deadly())


def _weights(now: Snapshot) -> dict[str, float]:
    model = now.model()
    norm = sum(float(p.detach().square().sum()) for p in model.parameters())
    gradient = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    nn.init.zeros_(next(model.parameters()))  # nothing that a probe does reaches the training
    return {"weights": norm**0.5, "gradients": gradient**0.5}


def _early(now: Snapshot) -> dict[str, float]:
    return {"early_loss": now.loss("training", "population"), "early_batch": now.batch_loss()}


WEIGHTS = Probe("weights", "size of the weights", "step", _weights, frozenset({"model", "gradients"}))
EARLY = Probe("early", "losses at the start", "given steps", _early, steps=(0, 2, 999))
