"""What the replicas of a cohort share: the model as a function, and the traced training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from normlab.engine.objective import objective
from normlab.engine.sequential import build_model
from normlab.engine.stacked.wide import Wide
from normlab.engine.start import Start
from normlab.norms.population import population_statistics, running_layers
from normlab.probes.spec import Statistics
from normlab.records import Setting

Tensors = dict[str, Tensor]
Step = Callable[[Tensors, Tensors, Tensors, Tensor, Tensor], tuple[Tensors, Tensor, Tensor]]
BLOCK = 128  # samples that are evaluated together where they may be, so that they stay in the caches


class Program:
    """One model as a function of its parameters, of all replicas at once.

    Arguments:
        start: what any of the runs starts from.
        setting: the setting of all of them.
        device: where they are trained.
    """

    def __init__(self, start: Start, setting: Setting, device: str) -> None:
        self.setting, self.device = setting, device
        self.model = _seeded(start, setting, device)
        self.learned = {name for name, p in self.model.named_parameters() if p.requires_grad}
        self.parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        self.keeps_running_statistics = bool(running_layers(self.model))
        self._steps: dict[int, Step] = {}

    def step(self, learned: Tensors, fixed: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor) -> Any:
        """Gradients, losses and gradient norms of all replicas; buffers are changed in place.

        It is traced once for each batch size, so that steps pay for torch's kernels alone and not for the layers of
        ``torch.func`` above them.
        """
        size = inputs.shape[1]
        if size not in self._steps:
            given = (learned, fixed, {name: value.clone() for name, value in buffers.items()}, inputs, targets)
            self._steps[size] = _traced(partial(self._step), given)
        return self._steps[size](learned, fixed, buffers, inputs, targets)

    def _step(
        self, learned: Tensors, fixed: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensors, Tensor, Tensor]:
        def loss(learned: Tensors, fixed: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensor:
            with Wide():
                return objective(
                    self.setting.loss, functional_call(self.model, {**learned, **fixed, **buffers}, (x,)), y
                )

        gradients, losses = vmap(grad_and_value(loss))(learned, fixed, buffers, inputs, targets)
        gradients = {name: gradient.contiguous() for name, gradient in gradients.items()}  # as the parameters are
        sizes = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients.values()])
        return gradients, losses, sizes.norm(dim=0)

    def evaluate(
        self,
        state: Tensors,
        statistics: Statistics,
        parts: Mapping[str, tuple[Tensor, Tensor]],
        shared: Sequence[str],
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Loss and accuracy of every replica on every part, the first of which is the training set.

        Arguments:
            state: parameters and buffers of all replicas.
            statistics: which ones batch normalization uses.
            parts: inputs and targets; targets have a leading replica axis, and so have inputs that are not shared.
            shared: the parts whose inputs are the same for all replicas.
        """
        names, whole = list(parts), statistics == "population" and self.keeps_running_statistics
        evaluation = _Evaluation(self.model, whole, self.setting.loss)
        dims = [None if name in shared else 0 for name in names]

        def measure(state: Tensors, inputs: list[Tensor], targets: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
            prefixed = {f"model.{name}": value for name, value in state.items()}
            with Wide():
                return functional_call(evaluation, prefixed, (inputs, targets))  # type: ignore[no-any-return]

        with torch.no_grad():
            inputs, targets = [parts[name][0] for name in names], [parts[name][1] for name in names]
            found = vmap(measure, in_dims=(0, dims, 0))(state, inputs, targets)
        return dict(zip(names, found, strict=True))


class _Evaluation(nn.Module):
    """Losses and accuracies of one replica in evaluation mode."""

    def __init__(self, model: nn.Module, whole: bool, loss: str) -> None:
        super().__init__()
        self.model, self.whole, self.loss = model, whole, loss

    def forward(self, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        if self.whole:
            with population_statistics(self.model, inputs[0]) as first:
                outputs = [first, *(self._outputs(x) for x in inputs[1:])]
        else:
            self.model.eval()
            outputs = [self._outputs(x) for x in inputs]
            self.model.train()
        return [
            (objective(self.loss, output, y), (output.argmax(dim=1) == y).double().mean())
            for output, y in zip(outputs, targets, strict=True)
        ]

    def _outputs(self, inputs: Tensor) -> Tensor:
        """In evaluation no sample depends on the others, so a few at a time give the same."""
        return torch.cat([self.model(block) for block in inputs.split(BLOCK)])


def _traced(function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """``function`` as the list of torch's operations that it makes of tensors of these shapes."""
    with torch.no_grad():
        graph = make_fx(function, tracing_mode="real")(*given)

    def run(*given: Any) -> Any:
        with torch.no_grad():
            return graph(*given)

    return run


def _seeded(start: Start, setting: Setting, device: str) -> nn.Module:
    with torch.random.fork_rng(devices=[] if device == "cpu" else [device]):
        torch.manual_seed(start.norm_seed)
        return build_model(start, setting, device)


def stack(starts: Iterable[Start], setting: Setting, device: str) -> tuple[Tensors, Tensors]:
    """Initial parameters and buffers of all replicas, with a leading replica axis."""
    models = [_seeded(start, setting, device) for start in starts]
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    return (
        {name: torch.stack([each[name].detach() for each in parameters]) for name in parameters[0]},
        {name: torch.stack([each[name] for each in buffers]) for name in buffers[0]},
    )
