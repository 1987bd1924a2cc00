"""A training step without its optimizer: which norms it runs, what it does to their statistics, and all put back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from normlab.diagnosis.case import SEED
from normlab.diagnosis.spec import OUTPUTS, CannotTell
from normlab.recognition.distance import distance
from normlab.recognition.inputs import map_inputs, run_model, samples_in
from normlab.recognition.spec import FoundNorm
from normlab.recognition.state import kept
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class StepEffects:
    """What a forward and a backward pass in training mode did.

    Arguments:
        forward: how often each norm was called in the forward pass, by its first name.
        backward: how often each was called in the backward pass, where activations were computed again.
        moved: how far the running statistics of each norm moved in the forward pass, relative to their size.
        moved_again: how far they moved in the backward pass.
        error: what was raised, or None.
        has_outputs: whether there were outputs that a backward pass can begin at.
    """

    forward: Mapping[str, int] = field(default_factory=dict)
    backward: Mapping[str, int] = field(default_factory=dict)
    moved: Mapping[str, float] = field(default_factory=dict)
    moved_again: Mapping[str, float] = field(default_factory=dict)
    error: Exception | None = None
    has_outputs: bool = True


def training_step(model: nn.Module, norms: Sequence[FoundNorm], inputs: Any) -> StepEffects:
    """A forward and a backward pass in training mode; the model is left as it was.

    The loss is the sum of the mean squares of all outputs that have a gradient.
    """
    import torch

    calls: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    moved: dict[str, float] = {}
    moved_again: dict[str, float] = {}
    error: Exception | None = None
    has_outputs = True
    with kept(model), torch.enable_grad(), _counted(norms, calls[0]) as count_in:
        torch.manual_seed(SEED)
        model.train()
        start = _statistics(norms)
        try:
            outputs = [output for output in tensors_of(run_model(model, inputs)) if output.is_floating_point()]
            has_outputs = len(outputs) > 0
            losses = [output.float().square().mean() for output in outputs if output.requires_grad]
            halfway = _statistics(norms)
            moved = _movement(start, halfway)
            count_in(calls[1])
            if losses:
                torch.autograd.backward(torch.stack(losses).sum())
            moved_again = _movement(halfway, _statistics(norms))
        except Exception as raised:
            error = raised
    return StepEffects(dict(calls[0]), dict(calls[1]), moved, moved_again, error, has_outputs)


def evaluated(model: nn.Module, inputs: Any, *, training: Sequence[FoundNorm] = ()) -> list[Tensor]:
    """The outputs with floating or complex numbers in evaluation mode; the model is left as it was.

    Arguments:
        model: the model.
        inputs: what it is called with.
        training: norms that are in training mode nevertheless. Where they are all that is, nothing else, dropout
            for instance, can make a difference.

    Raises:
        CannotTell: there are none.
    """
    import torch

    with kept(model), torch.no_grad():
        torch.manual_seed(SEED)
        model.eval()
        for norm in training:
            norm.module.train()
        outputs = (output.detach() for output in tensors_of(run_model(model, inputs)))
        reals = (torch.view_as_real(output) if output.is_complex() else output for output in outputs)
        floating = [output.clone() for output in reals if output.is_floating_point()]
    if not floating:
        raise CannotTell(OUTPUTS)
    return floating


def sliced(inputs: Any, samples: int) -> Any:
    """The first samples of inputs, in each tensor that has as many as the first."""
    import torch

    batch = samples_in(inputs)

    def change(value: Any) -> Any:
        has_samples = isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == batch
        return value[:samples] if has_samples else value

    return map_inputs(inputs, change)


def _statistics(norms: Sequence[FoundNorm]) -> dict[str, list[Tensor]]:
    """Copies of the running statistics of each norm that has some."""
    return {
        norm.name: [getattr(norm.module, name).detach().double().clone() for name in norm.running]
        for norm in norms
        if norm.running
    }


def _movement(before: Mapping[str, list[Tensor]], after: Mapping[str, list[Tensor]]) -> dict[str, float]:
    """How far they moved; 0 where that is no number, as some were not finite."""
    far = {name: distance(after[name], statistics) for name, statistics in before.items()}
    return {name: moved if isfinite(moved) else 0.0 for name, moved in far.items()}


@contextmanager
def _counted(norms: Sequence[FoundNorm], calls: Counter[str]) -> Iterator[Callable[[Counter[str]], None]]:
    """Counts the calls of each norm; gives a function that names another counter to go on with."""
    counter = [calls]

    def count_in(other: Counter[str]) -> None:
        counter[0] = other

    def count(name: str) -> None:
        counter[0][name] += 1

    handles = [norm.module.register_forward_pre_hook(lambda *_, name=norm.name: count(name)) for norm in norms]
    try:
        yield count_in
    finally:
        for handle in handles:
            handle.remove()
