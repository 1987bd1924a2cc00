"""The base of all layers: what they owe their input, and tensors that know where they start."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from torch import Tensor, device, dtype, empty, int64, nn, no_grad
from torch.fx import Proxy, Tracer

from normlab.errors import InputError
from normlab.norms.modules.inputs import fits, has_positions, is_real

AnyLayer = TypeVar("AnyLayer", bound="Layer")
Device = str | device | int | None


class Layer(nn.Module):
    """A module whose parameters and buffers are filled with a number at the start, and again by a reset.

    Arguments:
        channels: the number of channels that the input must have; 0 where any number will do.
        axis: where the channels are: 1, or -1 for channels-last input.
        positions: whether the input must have axes behind the channels.
        device: where parameters and buffers are made; torch's default by default.
        dtype: their type; torch's default by default.
    """

    def __init__(
        self,
        channels: int,
        *,
        axis: int = 1,
        positions: bool = False,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.axis, self.positions = channels, axis, positions
        self._device, self._dtype = device, dtype
        self._starts: dict[str, float] = {}

    def add_parameter(self, name: str, size: int, start: float) -> None:
        """A learned vector that starts at one number."""
        self._starts[name] = start
        self.register_parameter(name, nn.Parameter(empty(size, device=self._device, dtype=self._dtype).fill_(start)))

    def add_statistic(self, name: str, size: int, start: float) -> None:
        """A buffer that starts at one number."""
        self._starts[name] = start
        self.register_buffer(name, empty(size, device=self._device, dtype=self._dtype).fill_(start))

    def add_counter(self, name: str) -> None:
        """A buffer that counts from 0."""
        self._starts[name] = 0
        self.register_buffer(name, empty((), device=self._device, dtype=int64).fill_(0))

    def reset_parameters(self) -> None:
        """Fills parameters and buffers with what they start at, after ``to_empty`` too."""
        tensors = {**dict(self.named_parameters(recurse=False)), **dict(self.named_buffers(recurse=False))}
        with no_grad():
            for name in self._starts.keys() & tensors.keys():  # a parametrized one is no longer here
                tensors[name].fill_(self._starts[name])

    def check(self, inputs: Tensor) -> None:
        """Raises an error where the inputs are not what this layer is built for."""
        is_real(inputs, self)
        if self.positions:
            has_positions(inputs, self)
        if self.channels:
            fits(inputs, self.channels, self.axis)


def layer_forward(compute: Callable[[AnyLayer, Tensor], Tensor]) -> Callable[[AnyLayer, Tensor], Tensor]:
    """The forward pass of a layer that computes its output by ``compute`` once its input is known to be right.

    An empty input never gets there: it has no statistics. Its output is connected to all parameters, whose gradients
    are zeros, as distributed training needs where one process has no samples.
    """

    @wraps(compute)
    def forward(self: AnyLayer, input: Tensor) -> Tensor:  # by the name that torch's layers have for it
        self.check(input)
        return compute(self, input) if input.numel() else connected(self, input)

    return traceable(forward)


def traceable(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A forward pass that `torch.fx.symbolic_trace` takes as one step of the model, as it takes torch's own layers."""

    @wraps(forward)
    def traced(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        for value in (*inputs, *named.values()):
            if isinstance(value, Proxy) and isinstance(value.tracer, Tracer):
                return value.tracer.create_proxy("call_module", value.tracer.path_of_module(self), inputs, named)
        return forward(self, *inputs, **named)

    return traced


def as_base(kind: type[nn.Module]) -> Callable[[nn.Module], nn.Module]:
    """What `torch.jit.script` asks a layer for: the same as one of torch's classes, which TorchScript can read."""

    def __prepare_scriptable__(self: nn.Module) -> nn.Module:
        plain = kind.__new__(kind)
        vars(plain).update(vars(self))
        return plain

    return __prepare_scriptable__


def connected(layer: nn.Module, inputs: Tensor) -> Tensor:
    """An empty input as the output, on which every parameter of the layer has a gradient of zeros."""
    if inputs.numel():
        raise InputError("the input must be empty", f"shape {tuple(inputs.shape)}", "Apply the layer.")
    output = inputs * 1
    for parameter in layer.parameters(recurse=False):
        output = output + parameter.sum()
    return output.to(inputs.dtype)
