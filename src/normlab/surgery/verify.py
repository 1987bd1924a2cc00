"""What must hold of a model after a swap, and how far its outputs moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from normlab.errors import ExecutionError, describe_error
from normlab.recognition.distance import distance
from normlab.recognition.state import kept
from normlab.recognition.trace import call
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Modules = dict[str, "nn.Module"]
Outputs = dict[str, "tuple[Tensor, ...] | str"]
_MODES = {"evaluation": False, "training": True}


def modules_of(model: nn.Module) -> Modules:
    """Every module of a model under each of its names."""
    return dict(model.named_modules(remove_duplicate=False))


def require_only(before: Modules, after: Modules, replaced: Mapping[str, nn.Module], changed: Iterable[str]) -> None:
    """Raises an error unless just the layers that were meant are others than before.

    Arguments:
        before: the modules before the swap, by name.
        after: those after it.
        replaced: what must stand under each name of a replaced layer.
        changed: the names of modules in which a norm changed something beyond its slot.
    """
    wrong = [name for name, layer in replaced.items() if after.get(name) is not layer]
    roots = (*replaced, *changed)

    def is_inside(name: str) -> bool:
        return any(not root or name == root or name.startswith(f"{root}.") for root in roots)

    names = {name for name in before.keys() | after.keys() if not is_inside(name)}
    wrong += [name for name in names if before.get(name) is not after.get(name)]
    if wrong:
        few = ", ".join(map(repr, sorted(wrong)[:5]))
        raise ExecutionError(f"a swap must replace the layers that it plans and no others; it went wrong at {few}")


def require_called(names: Iterable[str], before: Collection[str], after: Collection[str]) -> None:
    """Raises an error where a model called an old layer and does not call the new one: it still uses the old one.

    Arguments:
        names: the names of the replaced layers.
        before: the names of what a forward pass called before the swap.
        after: the same after it.
    """
    silent = [name or "the model itself" for name in names if name in before and name not in after]
    if silent:
        raise ExecutionError(
            f"a swapped model must call its new layers where it called the old ones; it does not call "
            f"{', '.join(map(repr, silent[:5]))}. Something in it, such as a function, knows the old layers: leave "
            "them out by `where`"
        )


def outputs_of(model: nn.Module, inputs: Any) -> Outputs:
    """The outputs in evaluation and in training mode, with the same random numbers; where one fails, the reason."""
    return {mode: _outputs(model, inputs, training) for mode, training in _MODES.items()}


def _outputs(model: nn.Module, inputs: Any, training: bool) -> tuple[Tensor, ...] | str:
    import torch

    with kept(model), torch.no_grad():
        model.train(training)
        torch.manual_seed(0)
        try:
            outputs = call(model, inputs)
        except Exception as error:
            return describe_error(error.__cause__ or error)  # what the model itself raised
        return tuple(one.detach().clone() for one in tensors_of(outputs) if one.is_floating_point())


def changes(before: Outputs, after: Outputs) -> tuple[dict[str, float], tuple[str, ...]]:
    """How far outputs moved, by mode, and what must be known of them.

    Raises:
        ExecutionError: a model that ran, and gave numbers, no longer does.
    """
    moved = {}
    remarks = []
    for mode, old in before.items():
        new = after[mode]
        if isinstance(old, str):
            remarks.append(f"the model did not run in {mode} mode before the swap either ({old})")
            continue
        if isinstance(new, str):
            raise ExecutionError(
                f"the model must run in {mode} mode after the swap as before it; it raised {new}. Where its code reads "
                "what is in a norm, leave that norm out by `where`"
            )
        if _are_finite(old) and not _are_finite(new):
            raise ExecutionError(f"the outputs in {mode} mode must be finite after the swap as before it")
        if [one.shape for one in old] != [one.shape for one in new]:
            raise ExecutionError(f"the outputs in {mode} mode must have the shapes after the swap that they had before")
        if old and not any(one.numel() for one in old):
            remarks.append(f"the outputs in {mode} mode are empty, so that nothing was compared")
        elif not _are_finite(old):
            remarks.append(f"the outputs in {mode} mode were not finite before the swap either, so not compared")
        elif old:
            moved[mode] = distance(new, old)
    if not moved and not remarks:
        remarks.append("no tensors of real numbers were found in the outputs, so that nothing was compared")
    return moved, tuple(remarks)


def _are_finite(outputs: tuple[Tensor, ...]) -> bool:
    return all(bool(one.isfinite().all()) for one in outputs)
