"""A user's model, made anew for every run: by a function, or as a copy of a model that is there."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab import reading
from normlab.errors import InputError
from normlab.norms.copying import copied
from normlab.norms.running import require_numbers
from normlab.recognition.state import random_states_kept
from normlab.surgery.obstacles import refuse

if TYPE_CHECKING:
    from torch import nn

_FORM = "Return a torch.nn.Module, or (model, data, loss)."


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the model, each time a new one.

    Arguments:
        function: gives the model, or (model, data, loss).
        kind: the class of the model.
        digest: a hash of what it makes from the random numbers of seed 0, so that other weights make other runs.
        data: what it gives beside the model to train on.
        loss: the loss that it gives beside the model.
        is_copy: whether every model is a copy of one that was given, so that all seeds start from its weights.
    """

    function: Callable[[], Any]
    kind: type
    digest: str
    data: Any = field(default=None, repr=False)
    loss: Any = None
    is_copy: bool = False

    def __call__(self, seed: int = 0) -> nn.Module:
        """The model, all that is drawn at random for it drawn from the seed; the generators stay as they were."""
        with drawn_from(seed):
            model: nn.Module = _parts(self.function())[0]
        return model


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """A context in which torch, NumPy and Python draw from ``seed``; afterwards their generators are as before."""
    import torch

    with random_states_kept():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 (the user's code may draw from it)
        random.seed(seed)
        yield


def find_maker(build: Any) -> Maker:
    """The maker of a function, a class, a model, ``package.module:build``, or a triple (model, data, loss).

    Raises:
        InputError: it is none of these, or it makes no model.
    """
    from torch import nn

    value = _named(build) if isinstance(build, str) else build
    given = _parts(value)
    if isinstance(given[0], nn.Module):
        _check(given[0])
        original = copied(given[0])
        return Maker(lambda: copied(original), type(original), _digest(original), given[1], given[2], is_copy=True)
    if not callable(given[0]):
        rule = "`build` must be a function that makes a model, a model, or package.module:function"
        raise InputError(rule, f"a {type(given[0]).__name__}", "Give a function without arguments.")
    function: Callable[[], Any] = given[0]
    with drawn_from(0):
        made = reading.called(function, "`build` must make the model without arguments")
        model, data, loss = _parts(made)
    data, loss = (mine if mine is not None else theirs for mine, theirs in zip(given[1:], (data, loss), strict=True))
    if not isinstance(model, nn.Module):
        raise InputError("`build` must make a torch.nn.Module", f"a {type(model).__name__}", _FORM)
    _check(model)
    return Maker(function, type(model), _digest(model), data, loss)


def _check(model: nn.Module) -> None:
    refuse(model)
    require_numbers(model)


def _named(reference: str) -> Any:
    """The function, model or triple behind a text.

    Raises:
        InputError: there is none.
    """
    rule = "`build` must name a function that makes a model, as package.module:function"

    def may_build(value: object) -> bool:
        return callable(value) or isinstance(value, tuple)

    return reading.loaded(reference, rule, may_build, "function", "Make it a function that gives the model.")


def _parts(made: Any) -> tuple[Any, Any, Any]:
    """Model, data and loss of what was made; None for what is not there."""
    if isinstance(made, tuple):
        if not 1 <= len(made) <= 3:
            raise InputError("`build` must make a model, or (model, data, loss)", f"{len(made)} things", _FORM)
        return (*made, None, None)[:3]
    return made, None, None


def _digest(model: nn.Module) -> str:
    content = hashlib.blake2b(digest_size=12)
    for name, tensor in model.state_dict().items():
        if not hasattr(tensor, "untyped_storage"):  # extra state of a user's module
            continue
        content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        content.update(tensor.detach().cpu().double().numpy().tobytes())
    return content.hexdigest()
