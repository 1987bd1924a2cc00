"""A PyTorch model at one moment of its training, as probes see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normlab.engine.objective import objective
from normlab.norms.population import population_statistics, running_layers
from normlab.probes.spec import Statistics

if TYPE_CHECKING:
    from torch import Tensor, nn

    Samples = tuple[Tensor, Tensor]


@dataclass
class TorchSnapshot:
    """What probes may look at, computed when first asked for.

    Arguments:
        model: the model, in training mode.
        parts: inputs and targets of every part of the data that may be asked for.
        held_out: which of the parts are held-out sets.
        training_loss: training-mode loss of this step's batch; NaN between steps.
        objective: which loss it is.
    """

    model: nn.Module
    parts: Mapping[str, Samples]
    held_out: tuple[str, ...] = ()
    training_loss: float = float("nan")
    objective: str = "cross_entropy"
    _outputs: dict[Statistics, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def keeps_running_statistics(self) -> bool:
        return bool(running_layers(self.model))

    def batch_loss(self) -> float:
        return self.training_loss

    def gradient_norm(self) -> float:
        from torch.nn.utils import get_total_norm

        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return float(get_total_norm(gradients))

    def loss(self, part: str, statistics: Statistics) -> float:
        return float(objective(self.objective, self._evaluated(statistics)[part], self.parts[part][1]))

    def accuracy(self, part: str, statistics: Statistics) -> float:
        right = self._evaluated(statistics)[part].argmax(dim=1) == self.parts[part][1]
        return float(right.double().mean())

    def _evaluated(self, statistics: Statistics) -> dict[str, Tensor]:
        if statistics not in self._outputs:
            evaluate = self._with_population if statistics == "population" else self._with_running
            self._outputs[statistics] = evaluate()
        return self._outputs[statistics]

    def _with_population(self) -> dict[str, Tensor]:
        import torch

        with population_statistics(self.model, self.parts["training"][0]) as outputs, torch.no_grad():
            others = {part: self.model(inputs) for part, (inputs, _) in self.parts.items() if part != "training"}
        return {"training": outputs, **others}

    def _with_running(self) -> dict[str, Tensor]:
        import torch

        self.model.eval()
        with torch.no_grad():
            outputs = {part: self.model(inputs) for part, (inputs, _) in self.parts.items()}
        self.model.train()
        return outputs
