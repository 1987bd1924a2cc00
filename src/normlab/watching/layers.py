"""The layers of a model under watch: when they are listened to, and how their figures are read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from normlab.recognition.find import found_norms
from normlab.recognition.known import is_scripted
from normlab.tensors import tensors_of
from normlab.watching.judge import Judged, Moment, judge_layer, judge_loop
from normlab.watching.layer import WatchedLayer
from normlab.watching.read import batch_statistics, in_backward, read_values, unwatchable
from normlab.watching.signals import Hook, Pass, holds

if TYPE_CHECKING:
    from torch import Tensor, nn

Guard = Callable[[Callable[..., None]], Callable[..., None]]


class Layers:
    """The normalization layers of a model.

    Arguments:
        model: the model.
        learned: the parameters that its optimizer holds; none where it is not known.
        mode: tells what kind of pass of the model is running.
        guard: what a hook's function is wrapped with.
    """

    def __init__(
        self, model: nn.Module, learned: Iterable[Tensor], mode: Callable[[], Pass | None], guard: Guard
    ) -> None:
        self._model, self._mode, self._guard = model, mode, guard
        held = {id(parameter) for parameter in learned}
        self.all = tuple(WatchedLayer(found, held) for found in found_norms(model))
        self.compiled = any(_is_compiled(module) for module in model.modules())
        self._handles: list[Any] = []

    def __iter__(self) -> Iterator[WatchedLayer]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def holders(self) -> dict[str, nn.Module]:
        """The model, the layers, and all parts with a layer in them, by their first names; of a compiled one itself."""
        if self.compiled:
            return {"": self._model}
        every = [name for layer in self.all for name in layer.found.names]
        parts = dict(self._model.named_modules())
        return {
            name: part for name, part in parts.items() if not name or (holds(name, every) and not is_scripted(part))
        }

    def begin(self) -> None:
        """Takes a first sample, from which on frozen layers must not move."""
        self._read(0)
        for layer in self.all:
            layer.follow(self._model.training)

    def listen(self) -> None:
        """Puts a hook on each layer, unless there is one or the model is compiled, which hooks would do anew."""
        if self.compiled or self._handles:
            return
        for layer in self.all:
            layer.forget_calls()
            hook = Hook(self._guard(functools.partial(self._called, layer)))
            self._handles.append(layer.module.register_forward_hook(hook, with_kwargs=True))

    def stop_listening(self) -> None:
        """Removes these hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def sample(self, moment: Moment) -> Judged:
        """Takes a sample, unless there is nothing new at the end, and gives all that is wrong."""
        before = [layer.updates for layer in self.all]
        if not moment.last or moment.since.steps:
            self._read(moment.total.steps)
        for layer, updates in zip(self.all, before, strict=True):
            layer.follow(self._model.training)
            yield from judge_layer(layer, updates, moment)
            layer.forget_calls()
        yield from judge_loop(self.all, moment)

    def _called(self, layer: WatchedLayer, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        import torch

        tensor = next(tensors_of((args, kwargs) if layer.by_batch else output), None)
        if tensor is None or not module.training or unwatchable(tensor):
            return
        if in_backward():
            layer.recomputed += 1
        elif self._mode() in (None, "training"):
            layer.calls += 1
            if layer.batch is None:
                with torch.no_grad():
                    layer.batch = batch_statistics(tensor, layer.found.order == "first")
                layer.rows = len(tensor) if tensor.dim() else 0

    def _read(self, step: int) -> None:
        """Reads all layers in one transfer."""
        wanted = [(layer, name, tensor) for layer in self.all for name, tensor in layer.tensors().items()]
        values: dict[WatchedLayer, dict[str, Any]] = {layer: {} for layer in self.all}
        for (layer, name, _), array in zip(wanted, read_values([tensor for *_, tensor in wanted]), strict=True):
            values[layer][name] = array
        for layer in self.all:
            layer.take(step, values[layer])


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None
