"""Checks of numbers: gradient, degenerate input, large offsets, narrow types."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from normlab.checks.spec import Observation
from normlab.checks.subject import Subject, difference, first_line, run, seeded, told

STEPS = (1e-5, 1e-6)  # of finite differences in float64; the smaller one may pass a kink that the other crosses
GRADIENT = 1e-5  # the greatest relative error of a directional derivative
OFFSET = 1e-2  # float32 at mean 1e4: rounding of the mean alone makes about 1e-3, cancelling squares make 1 or more
NARROW = (  # types, and factors of inputs of spread 3: small ones feel an eps that grows with the type's rounding
    (torch.bfloat16, 1.0),
    (torch.bfloat16, 0.01),
    (torch.float16, 1.0),
    (torch.float16, 0.01),
    (torch.float16, 100.0),
)
ROUNDINGS = 8  # of the narrow type, in the course of one forward pass


def gradient(subject: Subject) -> Observation:
    """In float64 the derivatives of input and parameters are those of finite differences."""
    model = subject.model()
    frozen = subject.norm.spec.wrap is not None and bool(list(model.buffers()))
    if frozen:  # a power iteration moves its vectors in training, which the gradient leaves aside by design
        model.eval()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    names = [name for name, _ in model.named_parameters()]
    start = [subject.inputs(5), *(parameter.detach().clone() for parameter in model.parameters())]
    direction = _directions(subject.inputs(5).shape, 11)

    def value(*values: Tensor) -> Tensor:
        state = dict(zip(names, values[1:], strict=True)) | {name: buffer.clone() for name, buffer in buffers.items()}
        with seeded(7):
            output: Tensor = functional_call(model, state, (values[0].clone(),))
        return (output * direction).sum()

    mode = " in evaluation mode" if frozen else ""
    leaves = [tensor.clone().requires_grad_() for tensor in start]
    output = value(*leaves)
    if not output.requires_grad:
        return Observation(
            "does not hold", f"for autograd the output{mode} depends neither on the input nor on a parameter"
        )
    slopes = torch.autograd.grad(output, leaves, allow_unused=True)
    errors = [_worst(value, start, number, slope) for number, slope in enumerate(slopes)]
    named = ["the input", *names]
    cut = [named[number] for number, slope in enumerate(slopes) if slope is None and (number or errors[0] > GRADIENT)]
    if cut:
        text = f"no gradient reaches {', '.join(cut)}: for autograd the output{mode} does not depend on it"
        return Observation("does not hold", text)
    worst = max(errors)
    if worst <= GRADIENT:
        return Observation("holds", f"derivatives and finite differences{mode} differ by at most {{figure:.1e}}", worst)
    where = named[errors.index(worst)]
    text = f"the derivative{mode} along {where} is off by {{figure:.1e}} of its size"
    return Observation("does not hold", text, worst)


def _worst(value: Callable[..., Tensor], start: list[Tensor], number: int, slope: Tensor | None) -> float:
    """The largest error of the derivative with respect to one of the arguments, along some directions."""
    errors = []
    for draw in range(3):
        along = _directions(start[number].shape, 100 * number + draw)
        claimed = float((slope * along).sum()) if slope is not None else 0.0
        errors.append(min(_error(claimed, _slope(value, start, number, step * along) / step) for step in STEPS))
    return max(errors)


def _error(claimed: float, measured: float) -> float:
    return abs(claimed - measured) / max(abs(claimed), abs(measured), 1e-3)


def _directions(shape: torch.Size, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _slope(value: Callable[..., Tensor], start: list[Tensor], number: int, along: Tensor) -> float:
    """Half the difference of ``value`` between one of its arguments moved ahead and back."""
    sides = []
    for sign in (1, -1):
        values = list(start)
        values[number] = start[number] + sign * along
        with torch.no_grad():
            sides.append(float(value(*values)))
    return (sides[0] - sides[1]) / 2


def degenerate(subject: Subject) -> Observation:
    """Zeros, constants, one element and empty input give finite numbers or an error, never silent NaN.

    Of empty input no parameter is left without a gradient: zeros are one, nothing is none, and stops all processes of
    distributed training where one has no samples.
    """
    refused: list[str] = []
    warned: list[str] = []
    always = _reached(subject.model(torch.float32), subject.inputs(0, torch.float32))
    for name, inputs in _special(subject):
        model = subject.model(torch.float32)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                leaf, output = _backward(model, inputs)
                with torch.no_grad():
                    evaluated = run(model.eval(), inputs)
        except (RuntimeError, ValueError) as error:  # of torch's and normlab's own kinds; any other is a mistake
            refused.append(f"{name} ({first_line(error).partition(', got')[0]})")
            continue
        if caught:
            warned.append(name)
        if broken := _not_finite(model, {"output": output, "output in evaluation": evaluated, "gradient": leaf.grad}):
            return Observation("does not hold", f"{name}: {broken} not finite, without an error")
        missing = [key for key, parameter in model.named_parameters() if key in always and parameter.grad is None]
        if missing and not inputs.numel():
            return Observation("does not hold", f"{name}: no gradient reaches {', '.join(missing)}, not even zeros")
    text = "zeros, constants, one element and empty input: finite"
    text += f", with a warning for {', '.join(warned)}" if warned else ""
    return Observation("holds", text + (f", or an error: {'; '.join(refused)}" if refused else ""))


def _backward(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The input with its gradient, and the output."""
    leaf = inputs.clone().requires_grad_()
    output = run(model, leaf)
    if output.requires_grad:
        output.sum().backward()  # type: ignore[no-untyped-call]
    return leaf, output


def _reached(model: nn.Module, inputs: Tensor) -> set[str]:
    """The parameters that a gradient reaches on ordinary input."""
    _backward(model, inputs)
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def _special(subject: Subject) -> Iterator[tuple[str, Tensor]]:
    shape = tuple(subject.sizes().values())
    yield "zeros", torch.zeros(shape)
    yield "constants", torch.full(shape, 3.0)
    yield "one element", torch.full(tuple(subject.sizes(samples=1, extent=1).values()), 0.5)
    yield "no samples", torch.zeros(tuple(subject.sizes(samples=0).values()))
    if subject.slot.extent:
        yield "no positions", torch.zeros(tuple(subject.sizes(extent=0).values()))


def _not_finite(model: nn.Module, named: dict[str, Tensor | None]) -> str:
    named = named | {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    named |= {f"buffer {name}": buffer for name, buffer in model.named_buffers()}
    return ", ".join(name for name, tensor in named.items() if tensor is not None and not tensor.isfinite().all())


def offset(subject: Subject) -> Observation:
    """At mean 1e4 and spread 1, float32 is as good as the rounding of its input allows."""
    inputs = (subject.inputs(6) / 3 + 1e4).float()
    with torch.no_grad():
        narrow, wide = run(subject.model(torch.float32), inputs), run(subject.model(), inputs.double())
    error = difference(narrow, wide)
    text = "float32 is off from float64 by {figure:.1e} of the largest output"
    return Observation("holds" if error <= OFFSET else "does not hold", text, error)


def dtypes(subject: Subject) -> Observation:
    """bfloat16 and float16 give their own type, within a few roundings of float64, and autocast works."""
    refused = []
    for dtype, size in NARROW:
        name = str(dtype).removeprefix("torch.")
        inputs = (size * subject.inputs(8)).to(dtype)
        try:
            with torch.no_grad():
                output = run(subject.model(dtype), inputs)
        except (RuntimeError, ValueError, TypeError) as error:
            refused.append(f"{name} ({told(error)})")
            continue
        with torch.no_grad():
            wide = run(subject.model(dtype).double(), inputs.double())
        gap = difference(output, wide)
        if output.dtype != dtype:
            return Observation("does not hold", f"{name} becomes {str(output.dtype).removeprefix('torch.')}")
        if gap > ROUNDINGS * torch.finfo(dtype).eps:
            text = f"{name} at a spread of {3 * size:g} is off from float64 by {{figure:.1e}} of the largest output"
            return Observation("does not hold", text, gap)
    inputs = subject.inputs(8, torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = run(subject.model(torch.float32), inputs)
    with torch.no_grad():
        gap = difference(mixed, run(subject.model(torch.float32), inputs))
    if gap > ROUNDINGS * torch.finfo(torch.bfloat16).eps:
        return Observation("does not hold", "autocast to bfloat16 is off by {figure:.1e} of the largest output", gap)
    text = f"within {ROUNDINGS} roundings of float64; autocast too"
    return Observation("holds", text + (f"; an error instead for {'; '.join(refused)}" if refused else ""))
