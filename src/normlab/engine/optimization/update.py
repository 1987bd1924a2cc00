"""One entry for engines: gradients of batches go in, parameters change when an update is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.engine.optimization.accumulation import Accumulation
from normlab.engine.optimization.clipping import clip, is_clipping
from normlab.engine.optimization.kinds import ParameterKinds
from normlab.engine.optimization.optimizers import make_updaters
from normlab.engine.optimization.schedules import factor, is_constant
from normlab.training import Training

if TYPE_CHECKING:
    from torch import Tensor


class Optimization:
    """What happens to gradients: accumulate, clip, set the rate, update.

    Arguments:
        parameters: what is learned, by name; changed in place.
        kinds: of the model's parameters.
        training: how it is trained.
        samples: the size of the training set.
        replicas: whether parameters and gradients have a leading replica axis.
        fused: whether to ask for torch's kernels that make an update in one pass; None leaves it to torch.

    Raises:
        InputError: this version of torch has not the optimizer.

    >>> import torch
    >>> from torch import nn
    >>> from normlab.engine.optimization import parameter_kinds
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> learned = dict(model.named_parameters())
    >>> optimization = Optimization(learned, parameter_kinds(model, learned), Training(clip_norm=1.0), samples=256)
    >>> model(torch.ones(64, 2)).sum().backward()
    >>> optimization.step({name: parameter.grad for name, parameter in learned.items()}, 64)
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        kinds: ParameterKinds,
        training: Training,
        samples: int,
        *,
        replicas: bool = False,
        fused: bool | None = None,
    ) -> None:
        self.parameters, self.kinds, self.training, self.replicas = parameters, kinds, training, replicas
        self._updates, self._made = training.updates(samples), 0
        self._mean = Accumulation(training.accumulation, training.steps_per_epoch(samples))
        self._updaters = make_updaters(parameters, kinds, training, replicas, fused)

    def step(self, gradients: Mapping[str, Tensor], samples: int) -> None:
        """Takes the gradients of the next batch, those of parameters without one left out.

        Arguments:
            gradients: by name.
            samples: of the batch.
        """
        mean = self._mean.add(gradients, samples)
        if mean is None:
            return
        if is_clipping(self.training):
            mean = self._clipped(mean)
        for updater in self._updaters:
            if not is_constant(self.training):
                updater.set_rate(self.learning_rate)
            updater.update(mean)
        self._made += 1

    @property
    def learning_rate(self) -> float:
        """That of the next update; behind the last, that of the last."""
        update = min(self._made, self._updates - 1)
        return self.training.learning_rate * factor(update, self._updates, self.training)

    def _clipped(self, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        output = self.kinds.output
        if self.replicas:
            return clip(gradients, self.parameters, self.training, output)
        clipped = clip(_alone(gradients), _alone(self.parameters), self.training, output)
        return {name: gradient[0] for name, gradient in clipped.items()}


def _alone(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With the replica axis of a single replica."""
    return {name: value[None] for name, value in values.items()}
