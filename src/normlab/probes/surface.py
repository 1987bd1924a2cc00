"""The loss of fixed samples as a function of the learned weights, with its first and second derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normlab.tasks.dropout import dropout_type
from normlab.tasks.losses import OutputFunction
from normlab.tasks.samples import Samples, call

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Within the context the model is in training mode without dropout, and draws the same random numbers each time.

    Its buffers, such as running statistics, are as before when it ends, and so are torch's generators.
    """
    import torch

    device = next((value.device for value in [*model.parameters(), *model.buffers()]), torch.device("cpu"))
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.train()
    for layer in model.modules():
        if isinstance(layer, dropout_type()):
            layer.eval()
    try:
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            torch.manual_seed(0)
            yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        model.train()


class Surface:
    """The loss of samples that pass as one batch in training mode, dropout off, as a function of the learned weights.

    Norms that couple the batch use the statistics of the samples, which change with the weights. Weights are one
    vector, in the order of the model's parameters.

    Arguments:
        model: the model; it is as before after each call.
        loss: outputs and targets to the mean loss.
        samples: inputs and targets.

    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False).double()
    >>> samples = torch.tensor([[1.0], [3.0]]).double(), torch.zeros(2, 1).double()
    >>> surface = Surface(model, torch.nn.functional.mse_loss, samples)
    >>> surface.gradient(torch.tensor([2.0]).double())
    (20.0, tensor([20.], dtype=torch.float64))
    >>> with surface.hessian() as product:
    ...     product(torch.tensor([1.0]).double())
    tensor([10.], dtype=torch.float64)
    """

    def __init__(self, model: nn.Module, loss: OutputFunction, samples: Samples) -> None:
        self.model, self.loss, self.samples = model, loss, samples
        self.names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.weights = _flat([parameter.detach() for parameter in self._parameters])

    def gradient(self, weights: Tensor | None = None) -> tuple[float, Tensor]:
        """Loss and gradient at some weights, by default the present ones."""
        import torch

        with undisturbed(self.model):
            self._set(self.weights if weights is None else weights)
            try:
                loss = self._loss()
                gradients = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
                return float(loss.detach()), _flat(gradients)
            finally:
                self._set(self.weights)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """A vector of weights or of their gradient, by the names of the parameters and in their shapes."""
        import torch

        pieces = torch.split(vector, [parameter.numel() for parameter in self._parameters])
        shapes = [parameter.shape for parameter in self._parameters]
        return {name: piece.view(shape) for name, piece, shape in zip(self.names, pieces, shapes, strict=True)}

    @contextmanager
    def hessian(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """Within the context: the product of the Hessian at the present weights with a vector, by double backward.

        B. A. Pearlmutter, 1994, "Fast exact multiplication by the Hessian".
        """
        import torch

        with undisturbed(self.model), _weight_norm_written_out(self.model):
            loss = self._loss()
            gradients = torch.autograd.grad(loss, self._parameters, create_graph=True, materialize_grads=True)
            gradient = _flat(gradients)

            def product(vector: Tensor) -> Tensor:
                return _flat(
                    torch.autograd.grad(gradient, self._parameters, vector, retain_graph=True, materialize_grads=True)
                )

            yield product

    def _loss(self) -> Tensor:
        inputs, targets = self.samples
        return self.loss(call(self.model, inputs), targets)

    def _set(self, weights: Tensor) -> None:
        import torch

        with torch.no_grad():
            for parameter, piece in zip(self._parameters, self.split(weights).values(), strict=True):
                parameter.copy_(piece)


@contextmanager
def _weight_norm_written_out(model: nn.Module) -> Iterator[None]:
    """Within the context weight normalization has right second derivatives.

    Those of torch's kernel take the length of the weights for a constant (seen in torch 2.13: the Hessian is not even
    symmetric).
    """
    from torch import norm_except_dim
    from torch.nn.utils.parametrizations import _WeightNorm

    layers = [module for module in model.modules() if isinstance(module, _WeightNorm)]

    def written_out(dim: int) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda length, direction: direction * (length / norm_except_dim(direction, 2, dim))

    for layer in layers:
        layer.forward = written_out(layer.dim)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    import torch

    return torch.cat([tensor.reshape(-1) for tensor in tensors])
