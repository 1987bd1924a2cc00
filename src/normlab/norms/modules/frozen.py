"""A norm whose statistics stay as they are, also after ``.train()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor, nn


class FrozenNorm(nn.Module):
    """A layer with running statistics that is always in evaluation mode.

    In a state dict its entries have the names that they have without freezing, so that checkpoints can be exchanged
    between a model and the same model frozen.

    Arguments:
        layer: the layer, such as a torch.nn.BatchNorm2d.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.register_state_dict_post_hook(_drop_level)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_add_level)  # type: ignore[no-untyped-call]
        self.train()

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        return self.layer(*inputs, **named)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        """What the layer has, such as ``weight`` and ``running_mean``, for code that reads it there."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, whatever is asked for."""
        return super().train(False)


def _drop_level(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]) -> None:
    inner = f"{prefix}layer."
    own = {name: state.pop(name) for name in list(state) if name.startswith(inner)}
    state.update({prefix + name.removeprefix(inner): value for name, value in own.items()})


def _add_level(module: nn.Module, state: dict[str, Any], prefix: str, *further: object) -> None:
    own = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    state.update({f"{prefix}layer.{name.removeprefix(prefix)}": value for name, value in own.items()})
