"""What the replicas of a cohort share: the model as a function, and the traced training step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from normlab.engine.history import named_failure
from normlab.engine.initial_state import InitialState
from normlab.engine.model import build_model, dropout_layers, seeded, trainable_count
from normlab.engine.optimization import training_loss
from normlab.engine.stacked.functional import call_with
from normlab.engine.stacked.wide import Wide
from normlab.norms.population import population_statistics, running_layers
from normlab.probes.spec import Statistics
from normlab.tasks.data import BATCH
from normlab.tasks.losses import Score

Tensors = dict[str, Tensor]
Samples = tuple[Tensor, Tensor]
Measured = dict[str, Tensor]  # the loss and each score by name, one number for each replica
LOSS = "loss"
BLOCK = 256  # samples that are evaluated together where they may be, so that they stay in the caches


class StackedModel:
    """One model as a function of its parameters, of all replicas at once.

    Arguments:
        state: what any of the runs starts from.
        device: where they are trained.
    """

    def __init__(self, state: InitialState, device: str) -> None:
        self.recipe, self.device = state.recipe, device
        self.model = _seeded(state, device)
        self.learned = {name for name, p in self.model.named_parameters() if p.requires_grad}
        self.parameters = trainable_count(self.model)
        self.keeps_running_statistics = bool(running_layers(self.model))
        self.shares_data = self.recipe.task.fixed
        loss, smoothing = self.recipe.task.loss_of(self.recipe.options), self.recipe.training.label_smoothing
        self.minimized, self.loss, self.smoothed = training_loss(loss, smoothing), loss.compute, smoothing > 0
        self._one_by_one: set[str] = set()  # scores that vmap cannot compute
        self._traces: dict[tuple[str, torch.Size], Any] = {}

    def step(self, learned: Tensors, fixed: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor) -> Any:
        """Gradients, losses and gradient norms of all replicas; buffers are changed in place.

        It is traced once for each batch size, so that steps pay for torch's kernels alone and not for the layers of
        ``torch.func`` above them.
        """
        key = "step", inputs.shape
        if key not in self._traces:
            copies = {name: value.clone() for name, value in buffers.items()}  # a trace is also a first call
            self._traces[key] = _traced(self._step, (learned, fixed, copies, inputs, targets))
        return self._traces[key](learned, fixed, buffers, inputs, targets)

    def _step(
        self, learned: Tensors, fixed: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensors, Tensor, Tensor]:
        def loss(learned: Tensors, fixed: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Any:
            with Wide():
                outputs = call_with(self.model, {**learned, **fixed, **buffers}, x)
                if not self.smoothed:
                    return self.minimized(outputs, y), ()
                return self.minimized(outputs, y), self.loss(outputs, y)

        gradients, (losses, measured) = vmap(grad_and_value(loss, has_aux=True))(
            learned, fixed, buffers, inputs, targets
        )
        losses = measured if self.smoothed else losses
        gradients = {name: gradient.contiguous() for name, gradient in gradients.items()}  # as the parameters are
        sizes = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients.values()])
        return gradients, losses, sizes.norm(dim=0)

    def evaluate(self, state: Tensors, statistics: Statistics, parts: Mapping[str, Samples]) -> dict[str, Measured]:
        """Loss and scores of every replica on every part, the first of which is the training set.

        Arguments:
            state: parameters and buffers of all replicas.
            statistics: which ones batch normalization uses.
            parts: inputs and targets; targets have a leading replica axis, inputs of the batch have one too, and
                all inputs where replicas have data of their own.
        """
        shared = [name for name in parts if name != BATCH]
        outputs: dict[str, Tensor] = {}
        if statistics == "population" and self.keeps_running_statistics:
            first = shared.pop(0)
            outputs[first], state = self._call("population", self._population, state, parts[first][0])
        if shared:
            axis = 0 if self.shares_data else 1
            sizes = [parts[name][0].shape[axis] for name in shared]
            whole = self._in_blocks(state, torch.cat([parts[name][0] for name in shared], dim=axis))
            outputs.update(zip(shared, torch.split(whole, sizes, dim=1), strict=True))
        for name in parts.keys() - outputs.keys():
            outputs[name] = self._call("own", vmap(self._outputs), state, parts[name][0])
        return {name: self._measure(outputs[name], parts[name][1]) for name in parts}

    def losses_without_dropout(self, state: Tensors, inputs: Tensor, targets: Tensor) -> list[float]:
        """Loss of every replica on its batch in training mode with dropout off; the state stays as it is."""
        outputs = self._call("without dropout", vmap(self._without_dropout), state, inputs)
        with torch.no_grad():
            losses: list[float] = vmap(self.loss)(outputs, targets).tolist()
        return losses

    def _measure(self, outputs: Tensor, targets: Tensor) -> Measured:
        """Loss and scores of each replica."""
        with torch.no_grad():
            measured = {LOSS: vmap(self.loss)(outputs, targets)}
            for score in self.recipe.task.scores:
                measured[score.name] = self._score(score, outputs, targets)
        return measured

    def _score(self, score: Score, outputs: Tensor, targets: Tensor) -> Tensor:
        if score.name not in self._one_by_one:
            try:
                return vmap(score.compute)(outputs, targets)
            except Exception:  # whatever a user's score does under vmap, it can be computed for one replica at a time
                self._one_by_one.add(score.name)
        with named_failure(f"score {score.name}"):
            values = [float(score.compute(output, target)) for output, target in zip(outputs, targets, strict=True)]
        return torch.tensor(values, dtype=torch.float64)

    def _in_blocks(self, state: Tensors, inputs: Tensor) -> Tensor:
        """In evaluation no sample depends on the others, so a few at a time give the same.

        All blocks are of one size; the last one overlaps with the one before.
        """
        axis = 0 if self.shares_data else 1
        count = inputs.shape[axis]
        size = min(BLOCK, count)
        forward = vmap(self._outputs, in_dims=self._in_dims)
        starts = [*range(0, count - size, size), count - size]
        blocks = [
            self._call("shared", forward, state, inputs.narrow(axis, start, size).contiguous()) for start in starts
        ]
        fresh = count - (len(starts) - 1) * size
        return torch.cat([*blocks[:-1], blocks[-1][:, size - fresh :]], dim=1)

    def _outputs(self, state: Tensors, inputs: Tensor) -> Tensor:
        """Of one replica, in evaluation mode."""
        self.model.eval()
        with Wide():
            outputs: Tensor = call_with(self.model, state, inputs)
        self.model.train()
        return outputs

    def _without_dropout(self, state: Tensors, inputs: Tensor) -> Tensor:
        """Of one replica, in training mode with dropout off; running statistics move in a copy."""
        dropout = dropout_layers(self.model).values()
        for layer in dropout:
            layer.eval()
        with Wide():
            copies = {name: value.clone() for name, value in state.items()}
            outputs: Tensor = call_with(self.model, copies, inputs)
        for layer in dropout:
            layer.train()
        return outputs

    def _population(self, state: Tensors, inputs: Tensor) -> tuple[Tensor, Tensors]:
        """Outputs of all replicas under the statistics of all inputs, and the state with these statistics."""

        def forward(state: Tensors, inputs: Tensor) -> tuple[Tensor, Tensors]:
            prefixed = {f"model.{name}": value for name, value in state.items()}
            with Wide():
                outputs, statistics = call_with(_Population(self.model), prefixed, inputs)
            return outputs, {**state, **statistics}

        return vmap(forward, in_dims=self._in_dims)(state, inputs)

    @property
    def _in_dims(self) -> tuple[int, int | None]:
        """Which axes of state and inputs are those of the replicas."""
        return 0, None if self.shares_data else 0

    def _call(self, name: str, function: Callable[..., Any], state: Tensors, inputs: Tensor) -> Any:
        key = name, inputs.shape
        if key not in self._traces:
            self._traces[key] = _traced(function, (state, inputs))
        return self._traces[key](state, inputs)


class _Population(nn.Module):
    """Outputs of the model under population statistics, and these statistics by the names of their buffers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensors]:
        with population_statistics(self.model, inputs) as outputs:
            names = {id(layer): name for name, layer in self.model.named_modules()}
            statistics: Tensors = {}
            for layer in running_layers(self.model):
                for buffer_name, buffer in layer.named_buffers(recurse=False):
                    statistics[f"{names[id(layer)]}.{buffer_name}"] = buffer.clone()
            return outputs, statistics


def _traced(function: Callable[..., Any], examples: tuple[Any, ...]) -> Any:
    """``function`` as the list of torch's operations that it makes of tensors of these shapes."""
    shapes_alone = FakeTensorMode(allow_fallback_kernels=True)  # one for all; torch else makes one at each operation
    with torch.no_grad(), tracing(TracingContext(shapes_alone)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")  # the calibration sees how fast it is
        graph = make_fx(partial(function), tracing_mode="real")(*examples)

    def run(*tensors: Any) -> Any:
        with torch.no_grad():
            return graph(*tensors)

    return run


def _seeded(state: InitialState, device: str) -> nn.Module:
    with seeded(state.norm_seed, device):
        return build_model(state, device)


def stack(states: Iterable[InitialState], device: str) -> tuple[Tensors, Tensors]:
    """Initial parameters and buffers of all replicas, with a leading replica axis."""
    models = [_seeded(state, device) for state in states]
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    return (
        {name: torch.stack([each[name].detach() for each in parameters]) for name in parameters[0]},
        {name: torch.stack([each[name] for each in buffers]) for name in buffers[0]},
    )
