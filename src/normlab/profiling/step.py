"""A step of a model: watched once, then timed, as a whole and norm by norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError, describe_error
from normlab.profiling.clock import Stopwatch, Work
from normlab.recognition.inputs import run_model
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def needs_gradient(model: nn.Module, inputs: Any) -> bool:
    """Whether a parameter or an input requires a gradient, so that a step has a backward pass."""
    return any(tensor.requires_grad for tensor in (*model.parameters(), *tensors_of(inputs)))


@dataclass
class Call:
    """A call of a norm in the watched step.

    Attributes:
        args: what the norm was called with.
        kwargs: what it was called with by name.
        gradient: the gradient that reached its output; None where none did.
        cast: kind of device and type of autocast in this call; None outside of autocast.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    gradient: Tensor | None = None
    cast: tuple[str, torch.dtype] | None = None

    def repeat(self, module: Callable[..., Any]) -> Any:
        """The output of a module that is called in the same way."""
        import torch

        if self.cast is None:
            return module(*self.args, **self.kwargs)
        with torch.autocast(*self.cast):
            return module(*self.args, **self.kwargs)

    def keep_gradient(self, gradient: Tensor) -> None:
        """Keeps a copy of the gradient that reached the output."""
        self.gradient = gradient.detach().clone()


def watch_step(model: nn.Module, norms: Mapping[str, nn.Module], inputs: Any, name: str) -> dict[str, list[Call]]:
    """The calls of every norm in a step, each with the gradient that reached its output.

    Raises:
        InputError: the model does not take the inputs, or its outputs have no gradient.
    """
    import torch

    calls: dict[str, list[Call]] = {key: [] for key in norms}

    def keep(key: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            named = {name: _copy(value) for name, value in kwargs.items()}
            call = Call(tuple(map(_copy, args)), named, cast=_autocast(output))
            calls[key].append(call)
            if isinstance(output, torch.Tensor) and output.requires_grad:
                output.register_hook(call.keep_gradient)  # type: ignore[no-untyped-call]

        return hook

    hooks = [module.register_forward_hook(keep(key), with_kwargs=True) for key, module in norms.items()]
    try:
        make_step(model, inputs)(Stopwatch(torch.device("cpu")))
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(inputs)) or "no tensor"
        outputs = " and give outputs that have a gradient" if needs_gradient(model, inputs) else ""
        rule = f"{name} must take the inputs{outputs}"
        given = f"inputs {shapes} ({describe_error(error)})"
        advice = "Give inputs that fit: `inputs=8,3,224,224`, say, or `inputs=8,128:1000` for tokens."
        raise InputError(rule, given, advice) from error
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _autocast(output: Any) -> tuple[str, torch.dtype] | None:
    import torch

    kind = output.device.type if isinstance(output, torch.Tensor) else "cpu"
    return (kind, torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None


def _copy(value: Any) -> Any:
    """A copy of a tensor, which no later operation in place changes; it requires a gradient if the tensor does."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad)


def make_step(model: nn.Module, inputs: Any) -> Work:
    """Forward and backward pass of the whole model; of a frozen model the forward pass alone."""
    import torch

    backward = needs_gradient(model, inputs)
    values = inputs.values() if isinstance(inputs, dict) else inputs  # tensors among them are copies, not the user's
    leaves = [*model.parameters(), *(value for value in values if isinstance(value, torch.Tensor))]

    def work(watch: Stopwatch) -> None:
        for leaf in leaves:
            leaf.grad = None
        watch.mark()
        with torch.set_grad_enabled(backward):
            outputs = run_model(model, inputs, copied=False)
        if not backward:
            watch.mark()
            watch.mark()
            return
        learned = [tensor for tensor in tensors_of(outputs) if tensor.requires_grad and tensor.is_floating_point()]
        if not learned:
            advice = "Take no_grad and detach out of its forward, or freeze all parameters for a forward pass alone."
            raise InputError("the outputs of a model with parameters to learn must have a gradient", "none", advice)
        loss = learned[0].square().mean()
        for tensor in learned[1:]:
            loss = loss + tensor.square().mean()
        watch.mark()
        loss.backward()  # type: ignore[no-untyped-call]
        watch.mark()

    return work


def repeat_calls(module: nn.Module, calls: Sequence[Call]) -> Work:
    """All calls of a norm in a step once more: forward passes, then backward passes."""
    import torch

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    leaves = [
        [*(t for t in (*tensors_of(call.args), *tensors_of(call.kwargs)) if t.requires_grad), *parameters]
        for call in calls
    ]
    backward = any(leaves) or any(call.gradient is not None for call in calls)

    def work(watch: Stopwatch) -> None:
        watch.mark()
        with torch.set_grad_enabled(backward):
            outputs = [call.repeat(module) for call in calls]
        watch.mark()
        gradients = [
            torch.autograd.grad(output, inputs, call.gradient, allow_unused=True)
            for output, call, inputs in zip(outputs, calls, leaves, strict=True)
            if call.gradient is not None and inputs
        ]
        watch.mark()
        del outputs, gradients

    return work


class _UnreadStopwatch(Stopwatch):
    """A stopwatch that nobody reads."""

    def __init__(self) -> None: ...

    def mark(self) -> None: ...


UNREAD = _UnreadStopwatch()
