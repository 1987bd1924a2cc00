"""Norms swapped in a zoo of small models of many libraries, and all that must hold afterwards, as a table.

python3 benchmarks/zoo.py                    all of it, some minutes; writes docs/zoo.md
python3 benchmarks/zoo.py --name bert        one model, to look at; --name can be repeated
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import normlab
from architectures import graphs, hugging_face, medical, torch_own, vision, written
from architectures.spec import Architecture
from normlab.norms.layouts import WITH_POSITIONS
from normlab.recognition.find import found_norms
from normlab.recognition.spec import FoundNorm
from normlab.recognition.state import kept
from normlab.recognition.trace import call, trace
from normlab.surgery.placing import slot_of
from normlab.surgery.report import SwapReport
from normlab.tensors import tensors_of

PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"
_PARTS = (written, torch_own, hugging_face, medical, graphs, vision)
ZOO = {architecture.name: architecture for part in _PARTS for architecture in part.ARCHITECTURES}
QUICK = (
    "list-and-dict",
    "residual-net",
    "u-net",
    "lstm-layer",
    "siamese-shared",
    "fused-and-shared",
    "query-key",
    "torch-encoder",
)
_NORM_CLASS = re.compile(r"^(?!_).*norm", re.IGNORECASE)


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose class is named like a norm, by first name: what a reader of the model calls its norms."""
    return {
        name: module
        for name, module in model.named_modules()
        if _NORM_CLASS.search(type(module).__name__)
        and not any(True for child in module.children() for _ in child.parameters())
    }


def _layer(model: nn.Module, inputs: Any) -> Any:
    """LayerNorm over the channels of each position, which has two names: one for channels first, one for last."""
    uses = trace(model, inputs)
    found = [norm for norm in found_norms(model) if not norm.obstacle]
    first = {norm.name for norm in found if slot_of(norm, uses.get(norm.name, ())).layout in WITH_POSITIONS}
    mixed = {lambda norm: norm.name in first: "layer2d", "*": "layer"}
    return mixed if 0 < len(first) < len(found) else "layer2d" if first else "layer"


TARGETS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "group": lambda model, inputs: "group:groups=4",
    "layer": _layer,
    "rms": lambda model, inputs: "rms",
    "batch": lambda model, inputs: "batch",
    "dyt": lambda model, inputs: "dyt",
    "none": lambda model, inputs: "none",
    "batch-renorm": lambda model, inputs: "batch-renorm",
}
CLASSES = {  # of which a new layer must be, alone or within an adapter
    "group": "GroupNorm",
    "layer": "LayerNorm(2d)?",
    "rms": "(Channel)?RMSNorm",
    "batch": r"BatchNorm\dd",
    "dyt": "DynamicTanh",
    "none": "Identity|ScaleShift",
    "batch-renorm": "BatchRenorm",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a swap.

    Arguments:
        replaced: how many layers were replaced.
        left: the classes that were left alone, with how many there were and why.
        problems: what did not hold afterwards.
    """

    replaced: int
    left: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def cell(self) -> str:
        """The outcome in a word or two."""
        return "; ".join(self.problems) or ("ok" if self.replaced else "as it was")


def missing(architecture: Architecture) -> str:
    """The library without which an architecture cannot be built here; empty where all are there."""
    libraries = () if architecture.library == "written" else (architecture.library,)
    return next((name for name in (*libraries, *architecture.needs) if find_spec(name) is None), "")


def made(architecture: Architecture, seed: int = 0) -> tuple[nn.Module, Any]:
    """A new model, with norms that look trained, of which every other one is frozen, and its inputs."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # libraries call what torch deprecates
        model, inputs = architecture.build()
    model.train()
    for index, norm in enumerate(norms_of(model).values()):
        for vector in norm.parameters():
            vector.data += 0.1 * torch.rand_like(vector) * (vector.data != 0)
        if index % 2:
            norm.eval().requires_grad_(False)
    return model, inputs


@cache
def outcome(name: str, target: str) -> Outcome:
    """Swaps the norms of a model and looks at all that must hold afterwards."""
    architecture = ZOO[name]
    old, inputs = made(architecture)
    before = Snapshot.of(old, inputs)
    model, report = _swapped(architecture, target, old, inputs)
    problems = [
        *(f"the model itself: {problem}" for problem in before.differences(old, inputs)),
        *_choice(architecture, old, report),
        *_others(before, target, model, report),
        *_runs(model, inputs),
        *_modes(old, model, report),
        *_round_trip(architecture, target, model, inputs),
        *(f"undone: {problem}" for problem in _undone(report, before, inputs)),
    ]
    left = Counter((entry.was, entry.reason) for entry in report.entries if entry.action == "leave")
    reasons = tuple(f"{count} {kind}: {reason}" for (kind, reason), count in left.items())
    return Outcome(len(report.replaced), reasons, tuple(problems))


def _undone(report: SwapReport, before: Snapshot, inputs: Any) -> list[str]:
    """What is not as before once the swap is undone; an undo that is refused is a problem too."""
    try:
        return list(before.differences(report.undo(), inputs))
    except normlab.InputError as error:
        return [str(error)]


def _swapped(architecture: Architecture, target: str, model: nn.Module, inputs: Any) -> tuple[nn.Module, SwapReport]:
    to = TARGETS[target](model, inputs)
    return normlab.swap(model, to, where=architecture.where, example_inputs=inputs)


def identity_problems(name: str) -> list[str]:
    """What differs, to the last bit, in a model whose norms were asked to stay the same."""
    old, inputs = made(ZOO[name])
    model, report = normlab.swap(old, "same", example_inputs=inputs)
    replaced = [f"{len(report.replaced)} replaced"] if report.replaced else []
    return [*replaced, *Snapshot.of(old, inputs).differences(model, inputs)]


def rebuilt(name: str) -> float:
    """How far the outputs in evaluation move where each norm becomes torch's own layer of the kind that it was told as.

    That is nothing where it was told rightly and all that it held was carried.
    """
    old, inputs = made(ZOO[name])
    known = [norm for norm in found_norms(old) if norm.kind in _OF_TORCH and not norm.obstacle]
    if not known:
        return 0.0
    to = {norm.name: partial(_OF_TORCH[norm.kind], norm) for norm in known}
    _, report = normlab.swap(old, to, where=ZOO[name].where, example_inputs=inputs)
    return report.changes["evaluation"]


def _batch(norm: FoundNorm, channels: int) -> nn.Module:
    layers = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    return layers.get(norm.spatial or 1, nn.BatchNorm1d)(channels, eps=norm.eps or 0.0)


_OF_TORCH: dict[str, Callable[[FoundNorm, int], nn.Module]] = {
    "batch": _batch,
    "group": lambda norm, channels: nn.GroupNorm(int(norm.options["groups"]), channels, eps=norm.eps or 0.0),
    "layer": lambda norm, channels: nn.LayerNorm(channels, eps=norm.eps or 0.0),
    "rms": lambda norm, channels: nn.RMSNorm(channels, eps=norm.eps or 0.0),
}


@dataclass(frozen=True)
class Snapshot:
    """A model's state, classes and outputs, to be compared to the last bit."""

    state: dict[str, Tensor]
    classes: dict[str, type]
    outputs: tuple[Tensor, ...]

    @classmethod
    def of(cls, model: nn.Module, inputs: Any) -> Snapshot:
        classes = {name: type(module) for name, module in model.named_modules(remove_duplicate=False)}
        return cls(deepcopy(model.state_dict()), classes, outputs_of(model, inputs))

    def differences(self, model: nn.Module, inputs: Any) -> Iterator[str]:
        other = Snapshot.of(model, inputs)
        if self.classes != other.classes:
            yield "other classes"
        if self.state.keys() != other.state.keys() or not all(map(_same, self.state.values(), other.state.values())):
            yield "another state"
        if len(self.outputs) != len(other.outputs) or not all(map(_same, self.outputs, other.outputs)):
            yield "other outputs"


def outputs_of(model: nn.Module, inputs: Any, *, training: bool = False, grad: bool = False) -> tuple[Tensor, ...]:
    """The floating-point outputs; the model stays as it is."""
    with kept(model), torch.set_grad_enabled(grad):
        model.train(training)
        torch.manual_seed(0)
        return tuple(one.detach().clone() for one in tensors_of(call(model, inputs)) if one.is_floating_point())


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a state are the same, in bytes where they are tensors."""
    if not isinstance(one, Tensor):
        return bool(one == other)
    numbers = [tensor.contiguous().flatten().view(torch.uint8) for tensor in (one, other)]
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(*numbers)


def _choice(architecture: Architecture, old: nn.Module, report: SwapReport) -> Iterator[str]:
    """All layers that are named like norms must be replaced, or kept as asked, apart from those declared otherwise."""
    reasons = {name: _reason(architecture, name, module) for name, module in norms_of(old).items()}
    taken = {entry.name for entry in report.entries if entry.action != "leave"}
    intended = {name for name, reason in reasons.items() if not reason}
    if taken != intended:
        yield f"intended, but not replaced: {sorted(intended - taken)}; replaced unasked: {sorted(taken - intended)}"
    for entry in report.entries:
        if entry.action == "leave" and not (reasons.get(entry.name) and reasons[entry.name] in entry.reason):
            yield f"{entry.name} left alone for another reason: {entry.reason}"


def _reason(architecture: Architecture, name: str, module: nn.Module) -> str:
    """Words of the reason for which a norm must be left alone; empty where it must not."""
    names = (name, type(module).__name__)
    return next((words for rule, words in architecture.left if any(re.fullmatch(rule, one) for one in names)), "")


def _others(before: Snapshot, target: str, model: nn.Module, report: SwapReport) -> Iterator[str]:
    """What was not replaced must be what it was, in class and bytes; what was, of a class of what was asked for."""
    entries = [entry for entry in report.entries if entry.action == "replace"]
    roots = tuple(f"{name}." for entry in entries for name in (entry.name, *entry.also))
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(roots)}
    expected = {name: value for name, value in before.state.items() if not name.startswith(roots)}
    if state.keys() != expected.keys() or not all(_same(value, expected[name]) for name, value in state.items()):
        yield "what was not replaced has another state"
    modules = dict(model.named_modules(remove_duplicate=False))
    changed = [name for name, kind in before.classes.items() if type(modules.get(name)) is not kind]
    if unasked := [name for name in changed if not f"{name}.".startswith(roots)]:
        yield f"other classes unasked: {unasked}"
    for root in roots:
        kinds = {type(part).__name__ for part in modules[root[:-1]].modules()}
        if not any(re.fullmatch(CLASSES[target], kind) for kind in kinds):
            yield f"{root[:-1]} became {kinds}"


def _runs(model: nn.Module, inputs: Any) -> Iterator[str]:
    """Finite numbers forwards and backwards, and the same with and without gradients in evaluation."""
    with kept(model):
        model.train()
        torch.manual_seed(0)
        outputs = [one for one in tensors_of(call(model, inputs)) if one.is_floating_point()]
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        targets = [(one, torch.randn_like(one)) for one in outputs if one.requires_grad]
        torch.stack([(one - target).square().mean() for one, target in targets]).sum().backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        if not all(bool(one.isfinite().all()) for one in (*outputs, *gradients)):
            yield "outputs or gradients in training are not finite"
        if not gradients or not any(bool(gradient.any()) for gradient in gradients):
            yield "no gradients arrive"
    plain, with_gradients = (outputs_of(model, inputs, grad=grad) for grad in (False, True))
    if not all(bool(one.isfinite().all()) for one in plain):
        yield "outputs in evaluation are not finite"
    if not all(torch.allclose(one, two, rtol=1e-4, atol=1e-5) for one, two in zip(plain, with_gradients, strict=True)):
        yield "evaluation differs without gradients"


def _modes(old: nn.Module, model: nn.Module, report: SwapReport) -> Iterator[str]:
    """Modes, and which parameters are trained, as before, in new layers too."""
    new = dict(model.named_modules(remove_duplicate=False))
    if wrong := [name for name, part in old.named_modules() if name in new and new[name].training != part.training]:
        yield f"another mode: {wrong}"
    for name in report.replaced:
        trained = [parameter.requires_grad for parameter in old.get_submodule(name).parameters()]
        if trained and any(parameter.requires_grad != any(trained) for parameter in new[name].parameters()):
            yield f"{name} is trained otherwise"
    parameters = dict(model.named_parameters())
    others = [(name, one) for name, one in old.named_parameters() if not name.startswith(report.replaced)]
    if wrong := [name for name, one in others if parameters[name].requires_grad != one.requires_grad]:
        yield f"trained otherwise: {wrong}"


def _round_trip(architecture: Architecture, target: str, model: nn.Module, inputs: Any) -> Iterator[str]:
    """The state must load into a model that is built anew, with other weights, and swapped, and give the same."""
    fresh, others = made(architecture, seed=1)
    fresh, _ = _swapped(architecture, target, fresh, others)
    fresh.load_state_dict(model.state_dict())
    if not all(map(_same, outputs_of(model, inputs), outputs_of(fresh, inputs))):
        yield "other outputs after a round trip of the state"


def row(name: str) -> str:
    """The row of a model in the table."""
    architecture = ZOO[name]
    outcomes = {target: outcome(name, target) for target in TARGETS}
    found = Counter(type(module).__name__ for module in norms_of(made(architecture)[0]).values())
    norms = ", ".join(f"{count} {kind}" for kind, count in found.items())
    replaced = max(one.replaced for one in outcomes.values())
    left = "; ".join(dict.fromkeys(reason for one in outcomes.values() for reason in one.left))
    cells = [name, architecture.library, norms, str(replaced), left, *(one.cell for one in outcomes.values())]
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The whole page."""
    return head() + "".join(f"{row(name)}\n" for name in ZOO)


def head() -> str:
    """What stands above the rows."""
    columns = ("architecture", "library", "norms", "replaced", "left alone", *TARGETS)
    return f"{_TEXT.format(count=len(ZOO))}\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"


_TEXT = """# The zoo: norms swapped in {count} models

Each model is small and built from a configuration, without weights from elsewhere. Its norms are swapped in the seven
ways of the last columns, so that six change it, and afterwards all of this must hold, which "ok" stands for:

- every layer whose class is named like a norm was replaced, apart from those left alone for the reason that the table
  gives, and nothing else: the rest has the classes and the bytes that it had, and so has the model that was copied;
- outputs and gradients are finite in training, and in evaluation outputs, with gradients the same as without;
- modes and `requires_grad` are those of before; every other norm was frozen for that;
- the state loads into a model with other weights that is swapped in the same way, which then gives the same outputs;
- `report.undo()` brings back the classes, the bytes of the state and of the outputs; `"same"` leaves all of them;
- torch's own BatchNorm, GroupNorm, LayerNorm and RMSNorm, with the options that were read from layers of these kinds
  and with what they held, leave the outputs in evaluation within a millionth of what they were.

`group` is `group:groups=4`; `layer` is `layer2d` where channels come first. "As it was" stands where all norms are of
the kind asked for already, or none can be replaced. Norms are counted by the name of their class. The table is written
by `python3 benchmarks/zoo.py`, with the extra `zoo`, and tested row by row.

The [doctor](doctor.md) finds no error in these models, which are healthy as far as anybody knows. It warns of three,
each time of what is there: of BatchNorm's momentum of 0.997 in the MobileNetV2 of transformers, which by TensorFlow's
convention would be 0.003; of norms in the blocks of MONAI's UNETR that nothing calls; and of memory in the order
channels_last that InstanceNorm gives up in SwinUNETR.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the page, or prints the rows of some models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", action="append", choices=ZOO, help="one model, to look at; can be repeated")
    names = parser.parse_args(arguments).name
    torch.set_num_threads(1)  # sums in one order, and small models are no faster on more
    if names:
        print("\n".join(map(row, names)))
    else:
        PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
