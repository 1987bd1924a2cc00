"""A forward pass that is watched: what arrives at each part of a model, and between which layers a norm stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from normlab import reading
from normlab.errors import InputError
from normlab.norms.batches import call_of, sizes_of
from normlab.recognition.inputs import run_model
from normlab.recognition.known import is_scripted
from normlab.recognition.spec import Use
from normlab.recognition.state import kept
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def trace(model: nn.Module, inputs: Any, *, training: bool | None = None) -> dict[str, tuple[Use, ...]]:
    """The calls of every part of a model in one forward pass without gradients, by the part's first name.

    Afterwards the model is as it was, and so are random numbers.

    Arguments:
        model: the model.
        inputs: what it is called with: a tuple, or a dictionary of names.
        training: the mode of the pass; by default the one that each part is in.

    Raises:
        InputError: the model does not take the inputs.

    >>> import torch
    >>> from torch import nn
    >>> uses = trace(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU()), (torch.ones(2, 3, 4, 4),))
    >>> uses["1"][0].shape, uses["1"][0].before, uses["1"][0].behind
    ((2, 8, 4, 4), '0', '2')
    """
    import torch

    watch = _Watch()
    with kept(model), torch.no_grad(), _slow_paths():
        if training is not None:
            model.train(training)
        hooks: list[Any] = []
        try:
            for name, part in model.named_modules():
                if not is_scripted(part):  # it takes no hooks
                    hooks += watch.hooks(name, part)
            call(model, inputs)
        finally:
            for hook in hooks:
                hook.remove()
    return {name: tuple(uses) for name, uses in watch.uses.items()}


def call(model: Callable[..., Any], inputs: Any) -> Any:
    """The outputs of a model for a tuple of inputs, or a dictionary of names.

    Raises:
        InputError: the model does not take the inputs.
    """
    try:
        return run_model(model, inputs)
    except InputError:
        raise
    except Exception as error:
        given = f"inputs {sizes_of(tensors_of(inputs)) or 'without a tensor'} ({reading.described(error)})"
        advice = "Give inputs that fit: `inputs=8,3,224,224`, say, or `inputs=8,128:1000` for tokens."
        raise InputError(f"{call_of(model)} must take the inputs", given, advice) from error


def keyword_of(args: Any, named: Mapping[str, Any]) -> str:
    """The name by which a part is given its first tensor; empty where it is given by its place."""
    by_name = () if any(True for _ in tensors_of(args)) else named.items()
    return next((key for key, value in by_name if any(True for _ in tensors_of(value))), "")


class _Watch:
    """Follows tensors from part to part by their storage: what comes out of a layer untouched goes into a norm."""

    def __init__(self) -> None:
        self.uses: dict[str, list[Use]] = {}
        self._made_by: dict[tuple[int, int], str] = {}
        self._normed: dict[tuple[int, int], tuple[str, int]] = {}
        self._alive: list[Tensor] = []  # so that no address comes twice

    def hooks(self, name: str, part: nn.Module) -> list[Any]:
        leaf = next(part.children(), None) is None
        return [
            part.register_forward_pre_hook(
                lambda _, args, named: self._enter(name, part, args, named), with_kwargs=True
            ),
            part.register_forward_hook(lambda _, args, output: self._leave(name, output) if leaf else None),
        ]

    def _enter(self, name: str, part: nn.Module, args: Any, named: Any) -> None:
        import torch

        uses = self.uses.setdefault(name, [])
        first = next(tensors_of((args, named)), None)
        if first is None:
            uses.append(Use((), torch.float32, training=part.training))
            return
        if (source := self._normed.get(_identity(first))) and not next(part.children(), None):
            norm, index = source
            known = self.uses[norm][index]
            self.uses[norm][index] = Use(**{**vars(known), "behind": known.behind or name})
        strided = not first.is_contiguous() and (
            (first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last))
            or (first.dim() == 5 and first.is_contiguous(memory_format=torch.channels_last_3d))
        )
        before = self._made_by.get(_identity(first), "")
        keyword = keyword_of(args, named)
        uses.append(Use(tuple(first.shape), first.dtype, strided, part.training, before, keyword=keyword))

    def _leave(self, name: str, output: Any) -> None:
        for tensor in tensors_of(output):
            self._alive.append(tensor)
            self._made_by[_identity(tensor)] = name
            self._normed[_identity(tensor)] = (name, len(self.uses[name]) - 1)


def _identity(tensor: Tensor) -> tuple[int, int]:
    """What is the same for a tensor as long as nothing is done to it."""
    return (id(tensor), tensor._version if not tensor.is_inference() else 0)


@contextmanager
def _slow_paths() -> Iterator[None]:
    """A context in which attention takes the path that calls its parts; the fast one passes them over."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
