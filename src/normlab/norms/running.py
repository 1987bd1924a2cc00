"""The layers of a model that keep running statistics: finding them, and seeing and setting their statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab import norms
from normlab.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

Names = dict["nn.Module", list[str]]


def running_layers(model: nn.Module) -> list[nn.Module]:
    """The layers of ``model`` that evaluate by running statistics of the batches they saw; frozen ones left out.

    These are torch's BatchNorm and SyncBatchNorm, unless built without running statistics, and every
    `RunningStatistics`.
    """
    return list(named_running_layers(model))


def named_running_layers(model: nn.Module) -> Names:
    """Those layers, each with all names under which it is in the model."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return named_layers(model, lambda layer: isinstance(layer, norms.RunningStatistics) or tracks(layer, _BatchNorm))


def tracks(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether it is one of torch's layers of that kind and has running statistics."""
    return isinstance(layer, kind) and layer.running_mean is not None


def named_layers(model: nn.Module, wanted: Callable[[nn.Module], bool]) -> Names:
    """The layers that are wanted, each with all names under which it is in the model; frozen ones left out."""
    frozen = {part for layer in frozen_layers(model) for part in layer.modules()}
    layers: Names = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if layer not in frozen and wanted(layer):
            layers.setdefault(layer, []).append(name)
    return layers


def frozen_layers(model: nn.Module) -> dict[norms.FrozenNorm, list[str]]:
    """The frozen layers of ``model``, each with all names under which it is in the model."""
    layers: dict[norms.FrozenNorm, list[str]] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, norms.FrozenNorm):
            layers.setdefault(layer, []).append(name)
    return layers


def require_initialized(model: nn.Module) -> None:
    """Raises an error that names the first lazy layer which has not seen a batch yet."""
    from torch.nn.parameter import is_lazy

    for name, layer in model.named_modules():
        tensors = (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
        if any(is_lazy(tensor) for tensor in tensors):
            what = f"{name!r} ({type(layer).__name__})" if name else type(layer).__name__
            raise InputError(
                "all layers of the model must be initialized",
                f"{what}, which waits for its first batch",
                "Run a batch through the model first.",
            )


def require_numbers(model: nn.Module) -> None:
    """Raises an error if a parameter or buffer is on the meta device, where nothing can be computed."""
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        advice = "Give it real ones first: model.to_empty(device='cpu'), and initial values."
        raise InputError("the parameters of a model must hold numbers", "parameters on the device meta", advice)


def store(layer: nn.Module, moments: norms.Moments) -> None:
    """Has the layer normalize by these moments in evaluation: the variance is the biased one, as in training."""
    import torch

    if isinstance(layer, norms.RunningStatistics):
        layer.store(moments)
        return
    with torch.no_grad():
        layer.get_buffer("running_mean").copy_(moments.mean)
        layer.get_buffer("running_var").copy_(moments.variance)


def require_representable(layer: nn.Module, names: Iterable[str]) -> None:
    """Raises an error where a statistic is beyond the type of its buffer.

    Arguments:
        layer: the layer.
        names: those of its buffers.
    """
    for name in names:
        buffer: Tensor = getattr(layer, name)
        if not buffer.isfinite().all():
            what = f"{name} of {type(layer).__name__} beyond {buffer.dtype}"
            advice = "Keep the layer in float32, as autocast does."
            raise InputError("statistics must be within the type of their buffers", what, advice)


@contextmanager
def watched(layers: Iterable[nn.Module], see: Callable[[nn.Module, norms.Moments], None]) -> Iterator[None]:
    """Within the context ``see`` gets the moments of what arrives at each layer, before the layer is applied."""
    import torch

    def watch(layer: nn.Module, arguments: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        with torch.no_grad():
            see(layer, _moments(layer, *arguments, *named.values()))

    hooks: list[RemovableHandle] = [layer.register_forward_pre_hook(watch, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _moments(layer: nn.Module, inputs: Tensor, *further: Tensor) -> norms.Moments:
    """The moments by which the layer normalizes in training what it is called with; a mask may stand behind it."""
    if isinstance(layer, norms.RunningStatistics):
        return layer.moments(inputs, *further)
    return norms.Moments.of(inputs, (0, *range(2, inputs.dim())))


@dataclass(frozen=True)
class Normalizing:
    """By what a layer normalizes in evaluation.

    Arguments:
        mean: its running mean; None for a layer that keeps none.
        deviation: its running standard deviation, eps within; None for a layer that keeps none.
    """

    mean: Tensor | None
    deviation: Tensor | None

    @classmethod
    def of(cls, layer: nn.Module) -> Normalizing:
        """That of a layer with running statistics, as it is now."""
        import torch

        buffers = {name: buffer.to("cpu", torch.float64, copy=True) for name, buffer in layer.named_buffers()}
        deviation = buffers.get("running_std")
        if "running_var" in buffers:
            deviation = (buffers["running_var"] + layer.eps).sqrt()  # type: ignore[operator]
        return cls(buffers.get("running_mean"), deviation)

    def finite(self) -> Tensor:
        """Of which channels nothing is nan or infinite."""
        import torch

        return torch.stack([kept.isfinite() for kept in (self.mean, self.deviation) if kept is not None]).all(0)

    def of_channels(self, channels: Tensor) -> Normalizing:
        """The same for some channels, which are marked."""
        kept = (None if values is None else values[channels] for values in (self.mean, self.deviation))
        return Normalizing(*kept)


def mean_distance(running: Normalizing, population: Normalizing) -> float:
    """Mean over channels of |m_running - m| / s; 0 for a layer that keeps no mean."""
    if running.mean is None or population.mean is None:
        return 0.0
    distance = (running.mean - population.mean).abs()
    return float((distance if population.deviation is None else distance / population.deviation).mean())


def scale_distance(running: Normalizing, population: Normalizing) -> float:
    """Mean over channels of |log(s_running / s)|; 0 for a layer that keeps no deviation."""
    if running.deviation is None or population.deviation is None:
        return 0.0
    return float((running.deviation / population.deviation).log().abs().mean())


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Every part is in its own mode again when the context ends."""
    modes = {layer: layer.training for layer in model.modules()}
    try:
        yield
    finally:
        for layer, training in modes.items():
            layer.training = training


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients within the context; every part is in its own mode again when it ends."""
    import torch

    with modes_kept(model), torch.no_grad():
        model.eval()
        yield


def copied_buffers(layers: Iterable[nn.Module]) -> list[tuple[Tensor, Tensor]]:
    """The buffers of the layers themselves, each with a copy of what it holds."""
    return [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers(recurse=False)]


def put_back(copies: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Has the buffers hold again what was copied."""
    import torch

    with torch.no_grad():
        for buffer, value in copies:
            buffer.copy_(value)
