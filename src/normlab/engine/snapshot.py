"""A PyTorch model at one moment of its training, as probes see it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast

from normlab.engine.history import named_failure
from normlab.engine.initial_state import InitialState
from normlab.engine.model import dropout_layers, kinds_of
from normlab.errors import InputError
from normlab.norms.population import population_statistics, running_layers
from normlab.norms.reestimation import reestimate
from normlab.probes.closeup import Closeup
from normlab.probes.spec import Statistics, check_asked, check_score
from normlab.recipe import Recipe
from normlab.tasks.data import BATCH, TRAINING
from normlab.tasks.samples import Samples, block_size, call, of_one_argument, outputs_of

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class TorchSnapshot:
    """What probes may look at, computed when first asked for.

    Arguments:
        network: the model, in training mode.
        state: what the run started from.
        parts: inputs and targets of every part of the data that may be asked for.
        learning_rate: of the next update.
        training_loss: training-mode loss of this step's batch; NaN between steps.
    """

    network: nn.Module
    state: InitialState
    parts: Mapping[str, Samples]
    learning_rate: float
    training_loss: float = float("nan")
    _outputs: dict[Statistics, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.state.recipe

    @property
    def held_out(self) -> tuple[str, ...]:
        return tuple(part for part in self.parts if part not in {TRAINING, BATCH})

    @property
    def scores(self) -> tuple[str, ...]:
        return tuple(score.name for score in self.recipe.task.scores)

    @property
    def keeps_running_statistics(self) -> bool:
        return bool(running_layers(self.network))

    @property
    def has_dropout(self) -> bool:
        return self.recipe.task.dropout_of(self.recipe.options).rate > 0

    def batch_loss(self) -> float:
        return self.training_loss

    def batch_loss_without_dropout(self) -> float:
        """Of a copy, as the pass moves running statistics; what a norm draws at random in it does not count either."""
        import torch

        inputs, targets = self.parts[BATCH]
        network = copy.deepcopy(self.network)
        for layer in dropout_layers(network).values():
            layer.eval()
        with torch.random.fork_rng([targets.device] if targets.is_cuda else []), torch.no_grad():
            return float(self.recipe.task.loss_of(self.recipe.options).compute(call(network, inputs), targets))

    def gradient_norm(self) -> float:
        from torch.nn.utils import get_total_norm

        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return float(get_total_norm(gradients))

    def loss(self, part: str, statistics: Statistics) -> float:
        check_asked(part, statistics, self.parts)
        compute = self.recipe.task.loss_of(self.recipe.options).compute
        return float(compute(self._evaluated(statistics)[part], self.parts[part][1]))

    def score(self, name: str, part: str, statistics: Statistics) -> float:
        check_asked(part, statistics, self.parts)
        check_score(name, self.scores)
        score = next(score for score in self.recipe.task.scores if score.name == name)
        outputs = self._evaluated(statistics)[part]
        with named_failure(f"score {name}"):
            return float(score.compute(outputs, self.parts[part][1]))

    def model(self) -> nn.Module:
        """A copy, gradients included, so that nothing that a probe does with it reaches the training."""
        model = copy.deepcopy(self.network)
        for copied, original in zip(model.parameters(), self.network.parameters(), strict=True):
            copied.grad = None if original.grad is None else original.grad.clone()
        return model

    def closeup(self) -> Closeup:
        return self._closeup

    @cached_property
    def _closeup(self) -> Closeup:
        recipe, weights = self.recipe, kinds_of(self.network, self.state).weights
        return Closeup(
            model=self.model(),
            parts=self.parts,
            task=recipe.task,
            loss=recipe.task.loss_of(recipe.options),
            slots=recipe.slots,
            weights=tuple(name for name, _ in self.network.named_parameters() if name in weights),
            learning_rate=self.learning_rate,
            batch_size=recipe.training.batch_size,
            stream=self.state.stream,
            norm=recipe.arm.norm,
            seed=self.state.seed,
        )

    def _evaluated(self, statistics: Statistics) -> dict[str, Tensor]:
        if statistics not in self._outputs:
            evaluate = self._with_population if statistics == "population" else self._with_running
            self._outputs[statistics] = evaluate()
        return self._outputs[statistics]

    def _with_population(self) -> dict[str, Tensor]:
        import torch

        training = self.parts[TRAINING][0]
        size = block_size(training)
        if isinstance(training, torch.Tensor) and size < len(training):
            buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
            try:
                if self.keeps_running_statistics:
                    blocks = [training[first : first + size] for first in range(0, len(training), size)]
                    reestimate(self.network, blocks, layer_by_layer=True)
                return self._with_running()
            except InputError:  # something is not finite any more: in one pass it gives losses that are not either
                pass
            finally:
                with torch.no_grad():
                    for name, buffer in self.network.named_buffers():
                        buffer.copy_(buffers[name])
        network = of_one_argument(self.network, training)
        with population_statistics(network, cast("Tensor", training)) as outputs, torch.no_grad():
            others = {name: outputs_of(self.network, part) for name, part in self.parts.items() if name != TRAINING}
        return {TRAINING: outputs, **others}

    def _with_running(self) -> dict[str, Tensor]:
        import torch

        self.network.eval()
        with torch.no_grad():
            outputs = {part: outputs_of(self.network, samples) for part, samples in self.parts.items()}
        self.network.train()
        return outputs
