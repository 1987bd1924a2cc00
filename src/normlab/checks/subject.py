"""What is checked: a norm in one slot, built anew for every question."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from normlab.errors import InputError
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm

SIZES = {"N": 4, "L": 5, "D": 2, "H": 3, "W": 4}
SAME = 1e-9  # float64 outputs that are the same but for the order of additions


@dataclass(frozen=True)
class Subject:
    """A norm in one slot.

    Arguments:
        norm: the norm.
        slot: where it is built for.
        claimed: whether its entry says what it does; a bare module says nothing.
        draws: whether other random numbers give another output in training.
        restless: whether even the same random numbers give another output of a layer that is built anew.
    """

    norm: Norm
    slot: Slot
    claimed: bool = True
    draws: bool = False
    restless: bool = False

    @property
    def layout(self) -> Layout:
        """The order of the axes of its input."""
        return self.slot.layout

    def layer(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """The norm alone, in training mode; the same seed makes the same layer."""
        with seeded(seed):
            return self._built().to(dtype).train()

    def _built(self) -> nn.Module:
        layer: object = self.norm.build(self.slot)
        if not isinstance(layer, nn.Module):
            raise InputError(f"build of {self.norm} must give a torch.nn.Module", _an(layer), "Return the layer.")
        if any(is_lazy(tensor) for tensor in (*layer.parameters(), *layer.buffers())):
            rule = "a norm must hold its parameters and buffers when it is built"
            what = f"{type(layer).__name__}, which makes them in its first pass"
            raise InputError(rule, what, "Take the class that is told the number of channels.")
        return layer

    def model(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """The norm; one that changes weights comes with a linear layer or convolution before it."""
        wrap = self.norm.spec.wrap
        if wrap is None:
            return self.layer(dtype, seed)
        with seeded(seed):
            before = wrap(self.before(), self.norm.options)
            return nn.Sequential(before, self._built()).to(dtype).train()

    def before(self) -> nn.Module:
        """The linear layer or convolution before a norm that changes weights, as it is without it."""
        channels = self.slot.channels
        if self.layout in ("NC", "NLC"):
            return nn.Linear(channels, channels)
        kinds: dict[str, Callable[..., nn.Module]] = {"NCL": nn.Conv1d, "NCHW": nn.Conv2d, "NCDHW": nn.Conv3d}
        return kinds[self.layout](channels, channels, 3, padding=1)

    def trained(self, dtype: torch.dtype = torch.float64, seed: int = 0, steps: int = 3) -> nn.Module:
        """The model after a few forward passes, its parameters moved."""
        model = self.model(dtype, seed)
        for step in range(steps):
            with torch.no_grad():
                run(model, self.inputs(seed=100 * (seed + 1) + step, dtype=dtype))
        with seeded(seed + 50), torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    def sizes(self, samples: int = SIZES["N"], extent: int | None = None) -> dict[str, int]:
        """The size of each axis; ``extent`` replaces that of the spatial ones."""
        spatial = dict(zip((axis for axis in self.layout if axis not in "NC"), self.slot.extent, strict=True))
        sizes = {"N": samples, "C": self.slot.channels}
        sizes |= {axis: size if extent is None else extent for axis, size in spatial.items()}
        return {axis: sizes[axis] for axis in self.layout}

    def inputs(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Normal numbers with mean 1 and spread 3."""
        generator = torch.Generator().manual_seed(seed)
        return (torch.randn(tuple(self.sizes().values()), generator=generator, dtype=torch.float64) * 3 + 1).to(dtype)


def answers(model: nn.Module, inputs: Tensor, call: Callable[[Tensor], Tensor] | None = None) -> dict[str, Tensor]:
    """The output and the gradients of input and parameters, by name; zeros where autograd gives none.

    Arguments:
        model: the norm, whose gradients are set to none first.
        inputs: the input.
        call: what is called in its place, such as its compiled form.
    """
    model.zero_grad(set_to_none=True)
    leaf = inputs.detach().requires_grad_()
    output = run(model if call is None else call, leaf)
    if output.requires_grad:
        weights = torch.empty_like(
            output, requires_grad=False
        )  # of the same order in memory, in which the gradient then arrives
        weights.copy_(torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape))
        (output * weights).sum().backward()  # type: ignore[no-untyped-call]
    leaves = {"the input": leaf, **dict(model.named_parameters())}
    slopes = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    return {"the output": output, **{f"the gradient of {name}": slope for name, slope in slopes.items()}}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it torch, NumPy and Python's random draw from ``seed``; outside nothing is shifted."""
    plain, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 (what a layer may draw from)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone: a GPU's would stay shifted
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numbers)  # noqa: NPY002


def run(model: Callable[[Tensor], Tensor], inputs: Tensor, seed: int = 7) -> Tensor:
    """The output; a layer that draws random numbers draws the same ones at every call with the same seed.

    The layer gets a copy, so that one that writes into its input leaves that of the other checks alone.
    """
    with seeded(seed):
        output = model(inputs.clone())
    if not isinstance(output, Tensor) or output.shape != inputs.shape:
        result = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else _an(output)
        raise InputError("a norm must give a tensor of the shape of its input", result, "Return the normalized input.")
    return output


def draws(make: Callable[[], nn.Module], inputs: Tensor) -> bool:
    """Whether a layer, built anew each time, gives another output with other random numbers."""
    with torch.no_grad():
        return difference(run(make(), inputs, seed=8), run(make(), inputs)) > SAME


def restless(make: Callable[[], nn.Module], inputs: Tensor) -> bool:
    """Whether a layer, built anew each time, gives another output even with the same random numbers."""
    with torch.no_grad():
        return difference(run(make(), inputs), run(make(), inputs)) > SAME


def difference(first: Tensor, second: Tensor) -> float:
    """The largest difference, as a share of the largest value; infinite if one is not finite and the other is."""
    if not first.numel():
        return 0.0
    first, second = first.detach().double(), second.detach().double()
    if not (first.isfinite().all() and second.isfinite().all()):
        return 0.0 if torch.equal(first.nan_to_num(0.5), second.nan_to_num(0.5)) else float("inf")
    return float((first - second).abs().max() / second.abs().max().clamp_min(1e-12))


def told(error: BaseException) -> str:
    """The type of an error and what it says, on one line; of an error of normlab's own what must hold and was given.

    >>> told(KeyError("weird")), told(AssertionError())
    ("KeyError: 'weird'", 'AssertionError')
    """
    if isinstance(error, InputError):
        return f"{error.rule}; got {error.given}"
    return f"{type(error).__name__}: {first_line(error)}" if str(error) else first_line(error)


def _an(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def first_line(error: BaseException) -> str:
    """What an error says, on one line of at most 120 letters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
