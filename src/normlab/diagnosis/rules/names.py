"""Rules on norms that are there by name alone: NL112, NL113."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from normlab.diagnosis.case import SEED, Case
from normlab.diagnosis.spec import OUTPUTS, CannotTell, Evidence, Rule
from normlab.diagnosis.twins import averages, twins
from normlab.norms.copying import unwatched
from normlab.recognition.distance import distance
from normlab.recognition.spec import FoundNorm
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn

_NORMED_CELL = re.compile(r"(norm|(^|_)ln|^LN|^BN|(^|_)bn)\w*(lstm|gru|rnn)|(lstm|gru|rnn)\w*norm", re.IGNORECASE)
_NORM = re.compile(r"norm(ali[sz]ation)?(\dd)?$", re.IGNORECASE)
_NO_NORM = re.compile(
    r"^(no|denorm|unnorm|identity|without|pre|post|local|cross|spectral|weight)|response", re.IGNORECASE
)
STEADY, LOUDER = 0.1, 30.0  # how far the output of a norm may move, and by what its input is multiplied


def unused(case: Case) -> Iterator[Evidence]:
    """Norms that no forward pass goes through, and whose parameters change nothing; recurrent cells without one."""
    yield from _bare_cells(case)
    if case.training.error and case.evaluation.error:
        return
    yield from _dotted(case)
    called = {*case.uses, *case.training.calls, *case.evaluation.calls}
    copies = averages(case.model).union(*(set(follows.modules()) for _, follows in twins(case.model)))
    inside = {part for norm in case.norms for part in norm.module.modules() if part is not norm.module}
    for norm in case.norms:
        if (
            norm.names
            and not called.intersection(norm.names)
            and norm.module not in inside
            and norm.module not in copies
            and not _matters(case, norm)
        ):
            count = sum(tensor.numel() for tensor in _numbers(norm))
            text = (
                f"the forward pass on these inputs does not call it, and changing its {count} parameters leaves the "
                "output as it is, in both modes"
            )
            if (other := _called_in_its_place(case, norm.name, called)) is None:
                yield Evidence(norm.name, text, "Call it in forward(), or take it out.", {"parameters": count})
            else:
                text += f"; {other!r} is called in its place"
                mend = "Nothing is wrong where other inputs choose it, as experts or domains do; else take it out."
                yield Evidence(norm.name, text, mend, {"parameters": count}, "note")


def _called_in_its_place(case: Case, name: str, called: Collection[str]) -> str | None:
    """The norm in another item of the same list or dictionary of modules, which is called; None without one."""
    from torch import nn

    parts = name.split(".")
    for place, part in enumerate(parts):
        if isinstance(case.modules.get(".".join(parts[:place])), nn.ModuleList | nn.ModuleDict):
            for other in sorted(called):
                others = other.split(".")
                if others[place : place + 1] != [part] and [*others[:place], part, *others[place + 1 :]] == parts:
                    return other
    return None


def _dotted(case: Case) -> Iterator[Evidence]:
    """Norms that ``setattr(model, "block.norm", norm)`` put beside the layer of that path, which is still called."""
    for owner in case.model.modules():
        for name, module in owner._modules.items():
            norm = next((norm for norm in case.norms if norm.module is module), None)
            if "." not in name or norm is None or case.entering(norm.module) is not None or _matters(case, norm):
                continue
            count = sum(tensor.numel() for tensor in _numbers(norm))
            text = (
                f"{type(owner).__name__} holds it under a name with a stop in it, {name!r}, as setattr makes it: the "
                f"forward pass does not call it, and changing its {count} parameters leaves the output as it is"
            )
            mend = f"Take it out of there, delattr(owner, {name!r}), and replace layers with normlab.swap(model, to)."
            yield Evidence(norm.name, text, mend, {"parameters": count})


def _matters(case: Case, norm: FoundNorm) -> bool:
    """Whether the model's output feels the layer's numbers, as where a function is called with them.

    A layer without numbers may matter: hooks do not see where its ``forward`` is called as a function.
    """
    import torch

    originals = [(tensor, tensor.detach().clone()) for tensor in _numbers(norm)]
    if not originals:
        return True
    try:
        with torch.no_grad():
            for tensor, _ in originals:
                tensor.add_(1.0)
        after = {training: case.run(training=training) for training in (True, False)}
    finally:
        with torch.no_grad():
            for tensor, original in originals:
                tensor.copy_(original)
    before = {True: case.training, False: case.evaluation}
    if not any(one.tensors for one in before.values()):
        raise CannotTell(OUTPUTS)
    return any(
        not torch.equal(one, other)
        for training, now in after.items()
        for one, other in zip(before[training].tensors, now.tensors, strict=False)
    )


def _numbers(norm: FoundNorm) -> list[Tensor]:
    """Its parameters, and where it has none, its running statistics."""
    kept = [buffer for buffer in norm.module.buffers() if buffer.is_floating_point()]
    return list(norm.module.parameters()) or kept


def _bare_cells(case: Case) -> Iterator[Evidence]:
    """Recurrent layers whose name promises a norm, and that neither hold one nor call a function of one."""
    for name, module in case.model.named_modules():
        own = name.rpartition(".")[2]
        label = type(module).__name__ if _NORMED_CELL.search(type(module).__name__) else own
        if not _NORMED_CELL.search(label) or any(
            part is norm.module for norm in case.norms for part in module.modules()
        ):
            continue
        operations = _operations(case, module)
        if operations and not any(word in operation for operation in operations for word in _STATISTICS):
            text = (
                f"{label} holds no normalization layer, and none of the {len(operations)} different functions that its "
                "forward pass calls takes a mean or a variance: it is the plain recurrent layer"
            )
            mend = "Normalize its gates: normlab's tasks digits-lstm and digits-gru show where the norms go."
            yield Evidence(name, text, mend, {"functions": len(operations)})


_STATISTICS = ("norm", "mean", "var", "std", "rsqrt")


def _operations(case: Case, module: nn.Module) -> set[str]:
    """The names of the functions of torch that a module calls in the model's forward pass."""
    from torch.overrides import TorchFunctionMode

    names: set[str] = set()
    inside = False

    class Listener(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if inside:
                names.add(str(getattr(function, "__name__", function)))
            return function(*args, **(kwargs or {}))

    def enter(*_: Any) -> None:
        nonlocal inside
        inside = True

    def leave(*_: Any) -> None:
        nonlocal inside
        inside = False

    hooks = [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with Listener():
            case.run(training=True)
    finally:
        for hook in hooks:
            hook.remove()
    return names


def no_norm(case: Case) -> Iterator[Evidence]:
    """Layers called a norm whose output grows with their input."""
    import torch

    found = {part for norm in case.norms if norm.kind for part in norm.module.modules()}
    holding = {norm.module for norm in case.norms if norm.kind}
    for name, module in case.model.named_modules():
        kind = type(module).__name__
        if not _NORM.search(kind) or _NO_NORM.search(kind) or module in found or not case.uses.get(name):
            continue
        if holding.intersection(module.modules()) or type(module).__module__.startswith("torch."):
            continue
        use = case.uses[name][0]
        if not use.dtype.is_floating_point:
            continue
        with torch.random.fork_rng(devices=()), torch.no_grad():
            torch.manual_seed(SEED)
            before = torch.randn(use.shape, dtype=use.dtype)
            once, louder = (_first(unwatched(module).train(), factor * before) for factor in (1.0, LOUDER))
        if once is None or louder is None or once.shape != louder.shape:
            continue
        moved = distance([louder], [once])
        if moved > STEADY:
            text = (
                f"{kind} does not normalize: an input {LOUDER:.0f} times as large gives an output that differs by "
                f"{moved:.0%} (a norm's stays within {STEADY:.0%})"
            )
            yield Evidence(name, text, figures={"moved": moved})


def _first(module: nn.Module, value: Tensor) -> Tensor | None:
    """The first tensor that a layer gives, or None where it takes more than one input."""
    try:
        return next(tensors_of(module(value)), None)
    except Exception:  # whatever a user's layer raises that wants more, or other, inputs
        return None


RULES = (
    Rule(
        "NL112",
        "norm-not-called",
        "warning",
        "a norm that is never called, or a recurrent layer that is normalized in name only",
        "A layer that forward() forgets trains nothing and is saved, counted and reported. Public layer-normalized "
        "LSTMs were found that hold no norm, so that comparisons with them compare nothing.",
        "https://github.com/pytorch/pytorch/issues/78744",
        "Call it, or take it out.",
        "class Block(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.linear, self.norm = "
        "nn.Linear(8, 8), nn.LayerNorm(8)\n    def forward(self, x):\n        return self.linear(x)",
        unused,
        ("inputs",),
    ),
    Rule(
        "NL113",
        "norm-in-name-only",
        "note",
        "a layer called a norm that does not normalize",
        "Who reads the name expects an output of a fixed scale. Where the scale passes through, learning rates and "
        "initial values that rely on a norm do not fit.",
        "Zhang and others 2019, arXiv:1901.09321 (what is needed without normalization)",
        "Give it another name, or normalize in it.",
        "class ScaleNorm(nn.Module):\n    def forward(self, x):\n        return 0.5 * x",
        no_norm,
        ("inputs",),
    ),
)
