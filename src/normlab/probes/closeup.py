"""A run from close by: its model, data and loss, for probes that look at more than losses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from normlab.norms.population import population_statistics
from normlab.norms.reestimation import reestimate
from normlab.norms.slot import Slot
from normlab.probes.surface import Surface, undisturbed
from normlab.tasks.data import TRAINING, main_part
from normlab.tasks.losses import Loss
from normlab.tasks.samples import Samples, block_size, call, of_one_argument, outputs_of, take
from normlab.tasks.spec import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Closeup:
    """A run at one moment, in ordinary PyTorch: a copy, so that nothing done with it reaches the training.

    Arguments:
        model: the model in training mode. Probes of one moment share it: leave it as it is.
        parts: inputs and targets of every part of the data.
        task: the task.
        loss: its loss.
        slots: the places of norms in the model.
        weights: names of the weight matrices and kernels outside norms, in the order of the model.
        learning_rate: of the next update.
        batch_size: of the training.
        stream: a random generator for a purpose, the same for every norm and at every moment of a run.
        norm: the text of the norm.
        seed: of the run.
    """

    model: nn.Module
    parts: Mapping[str, Samples]
    task: Task
    loss: Loss
    slots: tuple[Slot, ...]
    weights: tuple[str, ...]
    learning_rate: float
    batch_size: int
    stream: Callable[[str], np.random.Generator]
    norm: str = ""
    seed: int = 0

    @property
    def main(self) -> str | None:
        """The held-out set by which norms are compared."""
        return main_part(part for part in self.parts if part in self.task.held_out)

    @property
    def samples(self) -> int:
        """The size of the training set."""
        return len(self.parts[TRAINING][1])

    def squared_weight_norm(self) -> float:
        """Sum of the squares of the weight matrices and kernels."""
        parameters = dict(self.model.named_parameters())
        return sum(float(parameters[name].detach().double().square().sum()) for name in self.weights)

    def blocks(self, size: int, most: int = 1) -> list[Samples]:
        """Disjoint sets of training samples: the same for every norm and at every moment of a run.

        Arguments:
            size: samples of each; all of the training set where that is smaller.
            most: how many at most.
        """
        order = self.stream("probes").permutation(self.samples)
        size = min(size, self.samples)
        starts = range(0, size * min(most, self.samples // size), size)
        return [take(self.parts[TRAINING], order[start : start + size]) for start in starts]

    def surface(self, samples: Samples) -> Surface:
        """The loss of samples as a function of the weights."""
        return Surface(self.model, self.loss.compute, samples)

    def activations(self, names: Iterable[str], samples: Samples) -> dict[str, Tensor]:
        """What modules give out when samples pass as one batch in training mode, dropout off.

        Of a module that is used more than once it is the last output.
        """
        import torch

        outputs: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda module, inputs, output: outputs.__setitem__(name, output.detach())

        hooks = [self.model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
        try:
            with undisturbed(self.model), torch.no_grad():
                call(self.model, samples[0])
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def deployed(self) -> nn.Module:
        """A copy in evaluation mode, with running statistics where the model keeps them."""
        return copy.deepcopy(self.model).eval()

    def outputs(self, samples: Samples) -> Tensor:
        """The outputs of the deployed model."""
        import torch

        with torch.no_grad():
            return outputs_of(self.deployed(), samples)

    def populated(self) -> nn.Module:
        """A copy in evaluation mode whose buffers hold the statistics of the whole training set."""
        model = copy.deepcopy(self.model)
        inputs = self.parts[TRAINING][0]
        size = block_size(inputs)
        if isinstance(inputs, Mapping) or size >= len(inputs):
            with population_statistics(of_one_argument(model, inputs), cast("Tensor", inputs)):
                buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        else:
            blocks = [inputs[first : first + size] for first in range(0, len(inputs), size)]
            reestimate(model, blocks, layer_by_layer=True)
        return model.eval()


def tensor_like(values: Any, like: torch.Tensor) -> torch.Tensor:
    """Numbers of NumPy in the type and on the device of a tensor."""
    import torch

    return torch.as_tensor(values, dtype=like.dtype, device=like.device)
