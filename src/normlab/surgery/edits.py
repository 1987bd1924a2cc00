"""Changes of a model that can all be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normlab.errors import ExecutionError, InputError
from normlab.recognition.state import same

if TYPE_CHECKING:
    from torch import Tensor, nn


class Edits:
    """What was changed in a model, in order, with the way back of each change.

    Arguments:
        model: the model, which is changed in place.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._ways_back: list[Callable[[], object]] = []
        self._put: list[tuple[str, dict[str, nn.Module | None], nn.Module]] = []
        self._successors: dict[nn.Module, nn.Module] = {}

    def remember(self, way_back: Callable[[], object]) -> None:
        """Has ``undo`` take back a change that was made."""
        self._ways_back.append(way_back)

    def put(self, name: str, layer: nn.Module) -> None:
        """Has a layer stand in the place of that name, which must hold a layer already.

        The entry of the parent itself is set: a dotted name given to ``setattr`` would add a module in silence.
        """
        if not name:
            self._successors[self.model] = layer
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
        self._successors[old] = layer
        children[key] = layer

    def put_all(self, layers: Mapping[str, nn.Module]) -> None:
        """Has layers stand in the places of their names, those within others first."""
        for name in sorted(layers, key=lambda name: name.count("."), reverse=True):
            self.put(name, layers[name])

    def successors(self) -> dict[int, nn.Module]:
        """For the identity of each layer that was replaced, the layer that stands in its place in the end."""

        def last(layer: nn.Module) -> nn.Module:
            return last(self._successors[layer]) if layer in self._successors else layer

        return {id(old): last(new) for old, new in self._successors.items()}

    @contextmanager
    def changing(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """A context in which modules themselves are changed: their class, attributes, tensors, hooks, what learns.

        ``undo`` takes back what changed here and nothing else, so that hooks and modes of later stay. The numbers in
        tensors are left to `keep`.
        """
        before = [_Held.of(module) for module in modules]
        try:
            yield
        finally:
            for one in before:
                self.remember(one.way_back())

    def change(self, thing: object, attribute: str, value: object) -> None:
        """Has an attribute hold something else."""
        before = getattr(thing, attribute)
        self.remember(lambda: setattr(thing, attribute, before))
        setattr(thing, attribute, value)

    def keep(self, tensors: Iterable[Tensor]) -> None:
        """Has ``undo`` restore the numbers in tensors, before they are changed at all."""
        import torch

        copies = [(tensor, tensor.detach().clone()) for tensor in tensors]

        def restore() -> None:
            with torch.no_grad():
                for tensor, numbers in copies:
                    if not same(tensor, numbers):  # one that is expanded cannot be written to, and nothing has
                        tensor.copy_(numbers)

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


@dataclass(frozen=True)
class _Held:
    """What a module itself holds: its class, attributes, what is in its dictionaries, and which parameters learn."""

    module: nn.Module
    kind: type[nn.Module]
    attributes: dict[str, Any]
    contents: dict[str, dict[Any, Any]]
    learning: tuple[tuple[nn.Parameter, bool], ...]

    @classmethod
    def of(cls, module: nn.Module) -> _Held:
        attributes = dict(vars(module))
        contents = {key: dict(value) for key, value in attributes.items() if isinstance(value, dict)}
        learning = [(one, one.requires_grad) for one in module._parameters.values() if one is not None]
        return cls(module, type(module), attributes, contents, tuple(learning))

    def way_back(self) -> Callable[[], None]:
        """Takes back the difference between then and now, and not what differs by the time that it is called."""
        now = _Held.of(self.module)
        learned = [(one, learns) for one, learns in self.learning if one.requires_grad != learns]

        def back() -> None:
            if now.kind is not self.kind:
                self.module.__class__ = self.kind
            _take_back(vars(self.module), self.attributes, now.attributes)
            for key, content in self.contents.items():  # the same dictionaries: handles of hooks point to them
                _take_back(self.attributes[key], content, now.contents.get(key, {}))
            for parameter, learns in learned:
                parameter.requires_grad_(learns)

        return back


def _take_back(held: dict[Any, Any], before: Mapping[Any, Any], after: Mapping[Any, Any]) -> None:
    """Takes back in a dictionary what differs between two times, in the order of before; what came later stays."""
    missing = object()
    changed = {key for key in (*before, *after) if before.get(key, missing) is not after.get(key, missing)}
    if not changed:
        return
    later = dict(held)
    held.clear()
    held.update(
        {
            key: value if key in changed else later[key]
            for key, value in before.items()
            if key in changed or key in later
        }
    )
    held.update({key: value for key, value in later.items() if key not in before and key not in changed})
