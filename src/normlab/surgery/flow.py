"""Where the output of each part of a model goes: a forward pass of which every operation is seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from normlab.recognition.state import kept
from normlab.recognition.trace import call, keyword_of
from normlab.tensors import tensors_of

OUTPUT = "the model's output"


class Flow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a forward pass does with the tensors that parts of a model make.

    A tensor is made by the first part that gives it away: one that passes it on untouched, such as dropout in
    evaluation, makes and takes nothing.

    Attributes:
        makers: for each part, by its first name, who made its first input in each call; empty for nobody.
        takers: for each part, who has operations on what it made: the innermost part at work, or `OUTPUT`.
        shapes: for each part the shape of its first input in its first call.
        keywords: for each part, the names by which it was given it; empty for by its place.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.makers: dict[str, set[str]] = defaultdict(set)
        self.takers: dict[str, set[str]] = defaultdict(set)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.keywords: dict[str, set[str]] = defaultdict(set)
        self._made: dict[int, str] = {}
        self._alive: list[Tensor] = []  # so that no identity comes twice
        self._at_work: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._take((args, kwargs), self._at_work[-1] if self._at_work else "")
        return func(*args, **(kwargs or {}))

    def _take(self, values: Any, taker: str) -> None:
        for tensor in tensors_of(values):
            if id(tensor) in self._made:
                self.takers[self._made[id(tensor)]].add(taker)

    def enter(self, name: str) -> Callable[..., None]:
        """The hook for before a part is called."""

        def hook(_: nn.Module, args: Any, named: Any) -> None:
            self._at_work.append(name)
            self.keywords[name].add(keyword_of(args, named))
            for tensor in tensors_of((args, named)):
                self.makers[name].add(self._made.get(id(tensor), ""))
                self.shapes.setdefault(name, tuple(tensor.shape))
                break

        return hook

    def leave(self, name: str) -> Callable[..., None]:
        """The hook for behind it."""

        def hook(_: nn.Module, args: Any, output: Any) -> None:
            self._at_work.pop()
            for tensor in tensors_of(output):
                self._alive.append(tensor)
                self._made.setdefault(id(tensor), name)

        return hook

    def keep(self, name: str, part: nn.Module) -> None:
        """Takes note of what a part has in its attributes after the pass, where somebody may read it."""
        self._take(vars(part), name)

    def end(self, outputs: Any) -> None:
        """Takes note of what the model gives away."""
        self._take(outputs, OUTPUT)


def flow_and_outputs(model: nn.Module, inputs: Any) -> tuple[Flow, list[Tensor]]:
    """The flow of a forward pass without gradients, and what comes out; the model stays as it is."""
    flow = Flow()
    for tensor in tensors_of(inputs):
        flow._alive.append(tensor)
    hooks = []
    with kept(model), torch.no_grad():
        try:
            for name, part in model.named_modules():
                hooks.append(part.register_forward_pre_hook(flow.enter(name), with_kwargs=True, prepend=True))
                hooks.append(part.register_forward_hook(flow.leave(name)))
            with flow:
                outputs = call(model, inputs)
            for name, part in model.named_modules():
                flow.keep(name, part)
        finally:
            for hook in hooks:
                hook.remove()
    flow.end(outputs)
    return flow, [tensor.clone() for tensor in tensors_of(outputs)]
