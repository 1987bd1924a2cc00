"""A step of a model: watched once, then timed, as a whole and norm by norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError
from normlab.profiling.clock import Stopwatch, Work
from normlab.profiling.inputs import tensors_of
from normlab.profiling.text import first_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def learns(model: nn.Module, inputs: Any) -> bool:
    """Whether there is something to find a gradient for."""
    return any(tensor.requires_grad for tensor in (*model.parameters(), *tensors_of(inputs)))


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Afterwards buffers, gradients and modes are those of before."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for buffer, kept in buffers:
            buffer.detach().copy_(kept)
        for parameter, gradient in gradients:
            parameter.grad = gradient


@dataclass
class Call:
    """What a norm got in one call of the watched step; ``gradient`` is None where none reached it.

    Attributes:
        cast: the type that autocast took it in, on the device of the named kind; None outside of autocast.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    gradient: Tensor | None = None
    cast: tuple[str, torch.dtype] | None = None

    def of(self, module: Callable[..., Any]) -> Any:
        """What a module gives in this call."""
        import torch

        if self.cast is None:
            return module(*self.args, **self.kwargs)
        with torch.autocast(*self.cast):
            return module(*self.args, **self.kwargs)

    def reached(self, gradient: Tensor) -> None:
        """Keeps the gradient that reached the output."""
        self.gradient = gradient.detach().clone()


def watch_step(model: nn.Module, norms: Mapping[str, nn.Module], inputs: Any, name: str) -> dict[str, list[Call]]:
    """One step, in which every call of every norm is kept with the gradient that reached its output."""
    import torch

    calls: dict[str, list[Call]] = {key: [] for key in norms}

    def keep(key: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            named = {word: _kept(value) for word, value in kwargs.items()}
            call = Call(tuple(map(_kept, args)), named, cast=_autocast(output))
            calls[key].append(call)
            if isinstance(output, torch.Tensor) and output.requires_grad:
                output.register_hook(call.reached)  # type: ignore[no-untyped-call]

        return hook

    hooks = [module.register_forward_hook(keep(key), with_kwargs=True) for key, module in norms.items()]
    try:
        step_of(model, inputs)(Stopwatch(torch.device("cpu")))
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(inputs)) or "no tensor"
        outputs = " and give outputs that have a gradient" if learns(model, inputs) else ""
        rule = f"{name} must take the inputs{outputs}"
        given = f"inputs {shapes} ({first_line(error)})"
        raise InputError(rule, given, "Give inputs that fit: --input 8,3,224,224, or 8,128:1000 for tokens.") from error
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _autocast(output: Any) -> tuple[str, torch.dtype] | None:
    import torch

    kind = output.device.type if isinstance(output, torch.Tensor) else "cpu"
    return (kind, torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None


def _kept(value: Any) -> Any:
    """A copy of a tensor that needs a gradient as the original did, so that nothing changes it in place later."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad)


def step_of(model: nn.Module, inputs: Any) -> Work:
    """Forward and backward pass of the whole model; only the former of a frozen one."""
    import torch

    learning = learns(model, inputs)
    direct = inputs.values() if isinstance(inputs, dict) else inputs  # copies of our own, unlike what they may hold
    leaves = [*model.parameters(), *(value for value in direct if isinstance(value, torch.Tensor))]

    def work(watch: Stopwatch) -> None:
        for leaf in leaves:
            leaf.grad = None
        watch.mark()
        with torch.set_grad_enabled(learning):
            outputs = model(**inputs) if isinstance(inputs, dict) else model(*inputs)
        if not learning:
            watch.mark()
            watch.mark()
            return
        wanted = [tensor for tensor in tensors_of(outputs) if tensor.requires_grad and tensor.is_floating_point()]
        if not wanted:
            advice = "Take no_grad and detach out of its forward, or freeze all parameters for a forward pass alone."
            raise InputError("the outputs of a model with parameters to learn must have a gradient", "none", advice)
        loss = wanted[0].square().mean()
        for tensor in wanted[1:]:
            loss = loss + tensor.square().mean()
        watch.mark()
        loss.backward()  # type: ignore[no-untyped-call]
        watch.mark()

    return work


def again(module: Callable[..., Any], calls: Sequence[Call], parameters: Sequence[nn.Parameter] = ()) -> Work:
    """All calls of a norm in a step once more: forward passes, then backward passes."""
    import torch
    from torch import nn

    own = tuple(module.parameters()) if isinstance(module, nn.Module) else tuple(parameters)
    learned = [parameter for parameter in own if parameter.requires_grad]
    wanted = [
        [*(t for t in (*tensors_of(call.args), *tensors_of(call.kwargs)) if t.requires_grad), *learned]
        for call in calls
    ]
    learning = any(wanted) or any(call.gradient is not None for call in calls)

    def work(watch: Stopwatch) -> None:
        watch.mark()
        with torch.set_grad_enabled(learning):
            outputs = [call.of(module) for call in calls]
        watch.mark()
        found = [
            torch.autograd.grad(output, leaves, call.gradient, allow_unused=True)
            for output, call, leaves in zip(outputs, calls, wanted, strict=True)
            if call.gradient is not None and leaves
        ]
        watch.mark()
        del outputs, found

    return work


class _Unmarked(Stopwatch):
    """A watch that nobody reads."""

    def __init__(self) -> None: ...

    def mark(self) -> None: ...


IGNORED = _Unmarked()
