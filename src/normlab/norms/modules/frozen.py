"""A norm whose statistics stay as they are, whatever is done to the model around it."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn, no_grad

from normlab.norms.modules.layer import traceable


class FrozenNorm(nn.Module):
    """A layer with running statistics that is always in evaluation mode.

    The layer itself is no submodule: who walks over ``modules()`` to change layers of its class, such as
    `torch.optim.swa_utils.update_bn` and ``SyncBatchNorm.convert_sync_batchnorm``, does not meet it. Parameters,
    buffers and submodules are held by both, so that names, also in a state dict, are those without freezing.

    Arguments:
        layer: the layer, such as a torch.nn.BatchNorm2d.
        affine: whether its parameters stay as they are too (``requires_grad`` off).

    >>> from torch.optim.swa_utils import update_bn
    >>> from torch import randn
    >>> frozen = FrozenNorm(nn.BatchNorm1d(2))
    >>> update_bn([randn(8, 2) + 3], frozen)
    >>> frozen.running_mean, [name for name, _ in frozen.named_parameters()]
    (tensor([0., 0.]), ['weight', 'bias'])
    """

    layer: nn.Module

    def __init__(self, layer: nn.Module, *, affine: bool = False) -> None:
        super().__init__()
        object.__setattr__(self, "layer", layer)  # past the registration of submodules
        self._parameters = layer._parameters
        self._buffers = layer._buffers
        self._modules = layer._modules
        self._non_persistent_buffers_set = layer._non_persistent_buffers_set
        self._version = layer._version
        self._stopped: list[str] = []
        if affine:
            self.stop_affine()
        self.train(layer.training)

    @traceable
    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        return self.layer(*inputs, **named)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        """What the layer has, such as ``weight`` and ``running_mean``, for code that reads it there."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):  # what Python and torch ask for is about this layer itself
                raise
            return getattr(self.__dict__["layer"], name)

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, whatever is asked for; that mode comes back with `thaw`."""
        self._asked = mode
        self.layer.train(False)
        return super().train(False)

    def stop_affine(self) -> bool:
        """Has gamma and beta stay as they are too, until `thaw`; says whether any of them was learning."""
        learning = [name for name, value in self.layer.named_parameters() if value.requires_grad]
        for name in learning:
            self.layer.get_parameter(name).requires_grad_(False)
        self._stopped += learning
        return bool(learning)

    def thaw(self) -> nn.Module:
        """The layer itself, in the mode last asked for; what freezing stopped learns again."""
        for name in self._stopped:
            self.layer.get_parameter(name).requires_grad_()
        return self.layer.train(self._asked)

    def reset_running_stats(self) -> None:
        """Nothing: the running statistics are frozen."""

    def reset_parameters(self) -> None:
        """gamma and beta as at the start; the running statistics stay."""
        frozen = {name: buffer.clone() for name, buffer in self.layer.named_buffers()}
        self.layer.reset_parameters()  # type: ignore[operator]
        with no_grad():
            for name, buffer in self.layer.named_buffers():
                buffer.copy_(frozen[name])

    def _save_to_state_dict(self, *how: Any) -> None:
        self.layer._save_to_state_dict(*how)

    def _load_from_state_dict(self, *how: Any) -> None:
        self.layer._load_from_state_dict(*how)

    def extra_repr(self) -> str:
        return repr(self.layer)
