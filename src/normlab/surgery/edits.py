"""Changes of a model that can all be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normlab.errors import ExecutionError, InputError

if TYPE_CHECKING:
    from torch import nn


class Edits:
    """What was changed in a model, in order, with the way back of each change.

    Arguments:
        model: the model, which is changed in place.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._ways_back: list[Callable[[], object]] = []
        self._put: list[tuple[str, dict[str, nn.Module | None], nn.Module]] = []

    def remember(self, way_back: Callable[[], object]) -> None:
        """Has ``undo`` take back a change that was made."""
        self._ways_back.append(way_back)

    def put(self, name: str, layer: nn.Module) -> None:
        """Has a layer stand in the place of that name, which must hold a layer already.

        The entry of the parent itself is set: a dotted name given to ``setattr`` would add a module in silence.
        """
        if not name:
            before = _way_back(self.model, layer)
            self.remember(lambda: setattr(self, "model", before()))
            self.model = layer
            return
        path, _, key = name.rpartition(".")
        children = self.model.get_submodule(path)._modules
        old = children.get(key)
        if old is None:
            raise ExecutionError(f"there is no layer {name!r} to replace")
        if old is layer:  # the parent has several names itself
            return
        before = _way_back(old, layer)
        self.remember(lambda: children.__setitem__(key, before()))
        self._put.append((name, children, layer))
        children[key] = layer

    def put_all(self, layers: Mapping[str, nn.Module]) -> None:
        """Has layers stand in the places of their names, those within others first."""
        for name in sorted(layers, key=lambda name: name.count("."), reverse=True):
            self.put(name, layers[name])

    def snapshot(self, module: nn.Module) -> None:
        """Has ``undo`` restore the class and everything that a module itself holds, before it is changed at all."""
        kind, attributes = type(module), dict(vars(module))
        contents = {key: dict(value) for key, value in attributes.items() if isinstance(value, dict)}

        def restore() -> None:
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
            for key, content in contents.items():  # the same dictionaries: handles of hooks point to them
                attributes[key].clear()
                attributes[key].update(content)

        self.remember(restore)

    def undo(self) -> nn.Module:
        """Takes everything back, the last change first; gives the model.

        Raises:
            InputError: another layer stands where one was put, as after a later swap of the same model.
        """
        for name, children, layer in self._put:
            if self._ways_back and children.get(name.rpartition(".")[2]) is not layer:
                given = f"{type(children.get(name.rpartition('.')[2])).__name__} at {name!r}"
                rule = "a swap that is undone must find its layers where it put them"
                raise InputError(rule, given, "Undo what was done to the model later first.")
        return self._take_back()

    def _take_back(self) -> nn.Module:
        while self._ways_back:
            self._ways_back.pop()()
        return self.model

    @contextmanager
    def undone_after_errors(self) -> Iterator[None]:
        """A context of which nothing is left after an error."""
        try:
            yield
        except BaseException:
            self._take_back()
            raise


def _way_back(old: nn.Module, layer: nn.Module) -> Callable[[], nn.Module]:
    """Gives the old layer: in its own mode, or in the one that was asked of its successor since it was put there."""
    mode = layer.training

    def back() -> nn.Module:
        return old if layer.training == mode else old.train(layer.training)

    return back
