"""The oracle: one run after the other in ordinary PyTorch, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from normlab.engine.environment import describe
from normlab.engine.history import History
from normlab.engine.initial_state import InitialState, draw
from normlab.engine.loop import Replicas, train
from normlab.engine.model import (
    TORCH_TRAINING,
    build_model,
    dropout_layers,
    kinds_of,
    obstacle,
    one_thread,
    samples_of,
    seeded,
    tensor_of,
    trainable_count,
)
from normlab.engine.optimization import Optimization, training_loss
from normlab.engine.snapshot import TorchSnapshot
from normlab.engine.spec import Announce, CountSteps, Engine, Features, uncounted
from normlab.recipe import Cohort, Recipe, Run
from normlab.study.outcome import Outcome
from normlab.tasks.data import BATCH, TRAINING
from normlab.tasks.samples import Samples, call, take

if TYPE_CHECKING:
    from torch import nn


class Sequential(Engine):
    """Plain PyTorch: builds the model, loops over the batches, calls loss, backward and step."""

    name = "sequential"
    title = "sequential (plain PyTorch, one run after the other)"
    features = Features(
        training=TORCH_TRAINING,
        needs=frozenset({"losses", "gradients", "model", "closeup"}),
        moments=frozenset({"step", "epoch", "tail", "given steps", "shares"}),
        trees=True,
        after_epoch=True,
    )

    def supports(self, recipe: Recipe) -> str | None:
        return self.features.obstacle(recipe) or obstacle(recipe)

    def part_size(self, recipe: Recipe, device: str = "cpu") -> int:
        return 1

    def train(self, runs: Iterable[Run], device: str, on_steps: CountSteps = uncounted) -> Iterator[Outcome]:
        for recipe, seed in runs:
            with one_thread():
                yield _train_run(recipe, seed, device, on_steps)

    def warm_up(self, recipe: Recipe, device: str, announce: Announce) -> None:
        pass

    def bare_training(self, cohort: Cohort) -> Callable[[], None]:
        recipe = replace(cohort.recipe, probes=())
        states = [draw(recipe, seed) for seed in cohort.seeds]

        def run() -> None:
            for state in states:
                with one_thread(), seeded(state.norm_seed, "cpu"):
                    train(SingleRun(state, "cpu"), {0: History()}, recipe, [])

        return run


def _train_run(recipe: Recipe, seed: int, device: str, on_steps: CountSteps = uncounted) -> Outcome:
    """Trains one run; an error becomes the outcome ``failed``, a non-finite loss ``diverged``."""
    history, seconds = History(), list[float]()
    state: InitialState | None = None
    try:
        state = draw(recipe, seed)
        with seeded(state.norm_seed, device):
            run = SingleRun(state, device)
            history.parameters = trainable_count(run.model)
            train(run, {0: history}, recipe, seconds, on_steps)
    except Exception as error:  # a task, norm or probe of the user's may raise anything; the other runs go on
        if isinstance(error, MemoryError) and state is None:
            raise
        history.fail(error, len(seconds))
    typical = median(seconds) if seconds else float("nan")
    return history.outcome(recipe, seed, state, typical, describe("sequential", device, ("torch", "numpy")))


class SingleRun(Replicas):
    """One run: a model, its data and its optimizer.

    Arguments:
        state: what it starts from.
        device: where it is trained.
    """

    def __init__(self, state: InitialState, device: str) -> None:
        self.state, self.recipe, self.device = state, state.recipe, device
        self.model = build_model(state, device)
        training, loss = state.training, self.recipe.task.loss_of(self.recipe.options)
        self.minimized, self.loss = training_loss(loss, training.label_smoothing), loss.compute
        self.learned = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        samples = self.recipe.arm.condition.task.samples
        self.optimization = Optimization(self.learned, kinds_of(self.model, state), training, samples)
        parts = {TRAINING: state.training_part, **state.data.held_out}
        self.parts = {name: samples_of(part, training, device) for name, part in parts.items()}
        self.batch: Samples = take(self.parts[TRAINING], slice(0))
        self.batch_loss = float("nan")

    def load(self, step: int) -> None:
        rows = self.state.batch_of(step)
        self.batch = take(self.parts[TRAINING], rows)
        set_masks(self.model, self.state, step, len(rows), self.device)

    def compute(self) -> Sequence[float]:
        inputs, targets = self.batch
        self.model.zero_grad()
        outputs = call(self.model, inputs)
        loss = self.minimized(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        smoothed = self.state.training.label_smoothing > 0  # which only what is minimized is
        self.batch_loss = float(self.loss(outputs.detach(), targets)) if smoothed else loss.item()
        return [self.batch_loss]

    def update(self, step: int) -> None:
        gradients = {name: p.grad for name, p in self.learned.items() if p.grad is not None}
        self.optimization.step(gradients, len(self.batch[1]))
        epoch, rest = divmod(step + 1, self.recipe.arm.condition.steps_per_epoch)
        if self.recipe.task.after_epoch is not None and rest == 0:
            self.recipe.task.after_epoch(self.recipe.options, self.model, epoch)

    def at_step(self) -> Sequence[TorchSnapshot]:
        parts = {TRAINING: self.parts[TRAINING], BATCH: self.batch}
        return [TorchSnapshot(self.model, self.state, parts, self.optimization.learning_rate, self.batch_loss)]

    def between_steps(self) -> Sequence[TorchSnapshot]:
        return [TorchSnapshot(self.model, self.state, self.parts, self.optimization.learning_rate)]


def set_masks(model: nn.Module, state: InitialState, step: int, samples: int, device: str) -> None:
    """Gives the dropout layers their masks for a step."""
    if state.masks is None:
        return
    scale = 1 / (1 - state.recipe.task.dropout_of(state.recipe.options).rate)
    for layer, units in zip(dropout_layers(model).values(), state.dropout_masks(step), strict=True):
        mask = tensor_of(units[:samples].astype(state.training.dtype), state.training, device)
        layer.register_buffer("mask", mask * scale, persistent=False)
