"""What depends on replaced layers: hooks, fast paths, activations in place, plain references, the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.surgery.carry import Carried
from normlab.surgery.edits import Edits
from normlab.surgery.fast_paths import guard_fast_paths
from normlab.surgery.hooks import pass_on
from normlab.surgery.inplace import mend_inplace
from normlab.surgery.optimizers import repair
from normlab.surgery.references import follow
from normlab.surgery.step import Step, Uses

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Pairs = Sequence[tuple[Step, Carried]]
Parameters = Mapping[str, "nn.Parameter"]


@dataclass(frozen=True)
class Mended:
    """What was done around the replaced layers.

    Arguments:
        notes: what was mended.
        warnings: what could not be.
        optimizer: what was changed in the optimizer, in a line.
    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    optimizer: str = ""


def mend(edits: Edits, pairs: Pairs, uses: Uses, optimizer: Optimizer | None, before: Parameters) -> Mended:
    """Mends what depends on the replaced layers; every change can be undone.

    Arguments:
        edits: the model with the new layers, and what was changed so far.
        pairs: each step with its new layer.
        uses: the calls of the parts of the model in a forward pass, where there was one.
        optimizer: what trains the model.
        before: the parameters of the model as it was, by name.
    """
    notes, warnings = [], []
    for step, carried in pairs:
        passed = pass_on(step.found.module, carried.layer, carried.replaced)
        notes += [f"{_name(step)}: {what} carried over" for what in passed.carried]
        warnings += [f"{_name(step)}: not carried over: {what}" for what in passed.left]
    paths = guard_fast_paths(edits.model, [carried.layer for _, carried in pairs], edits.change)
    guarded = [one.name or "the model" for one in paths.guards]
    if guarded:
        notes.append(f"fast paths that would compute LayerNorm are switched off: {_listed(guarded)}")
    warnings += [f"{name} has a fast path of its own, which may compute LayerNorm" for name in paths.unguarded]
    behind = {step.found.name: step.slot.activation for step, _ in pairs if step.slot and step.slot.activation}
    in_place = mend_inplace(edits.model, [step.found.name for step, _ in pairs], behind, edits.change)
    if in_place.mended:
        notes.append(f"no longer in place, which would fail or change what came in: {_listed(in_place.mended)}")
    if in_place.named:
        notes.append(f"in place behind swapped norms, which full backward hooks forbid: {_listed(in_place.named)}")
    follow(edits)
    return Mended(tuple(notes), tuple(warnings), _optimizer(edits, pairs, optimizer, before))


def _optimizer(edits: Edits, pairs: Pairs, optimizer: Optimizer | None, before: Parameters) -> str:
    if optimizer is None:
        return ""
    after = dict(edits.model.named_parameters())
    replaced, added = _successors(before, after)
    for _, carried in pairs:
        for old, new in carried.replaced.items():
            if old in replaced and replaced[old] is None:
                replaced[old] = new
            elif new is not None:  # the old one has a successor already, or stays, as another layer holds it too
                added.append((new, old))
        added += carried.added
    present = {id(parameter) for parameter in after.values()}  # where new ones are tied, one of them stands for all
    added = [(parameter, like) for parameter, like in added if id(parameter) in present]
    repaired = repair(optimizer, replaced, added, {parameter: name for name, parameter in after.items()})
    edits.remember(repaired.undo)
    return repaired.text


def _successors(
    before: Parameters, after: Parameters
) -> tuple[dict[nn.Parameter, nn.Parameter | None], list[tuple[nn.Parameter, nn.Parameter | None]]]:
    """What took the place of parameters that left the model; a parametrized one is held by what it is computed from."""
    present = {id(parameter) for parameter in after.values()}
    replaced: dict[nn.Parameter, nn.Parameter | None] = {}
    added: list[tuple[nn.Parameter, nn.Parameter | None]] = []
    for name, old in before.items():
        if id(old) in present:
            continue
        path, _, own = name.rpartition(".")
        inside = f"{path}.parametrizations.{own}." if path else f"parametrizations.{own}."
        parts = [parameter for text, parameter in after.items() if text.startswith(inside)]
        replaced[old] = next((part for part in parts if part.shape == old.shape), None)
        added += [(part, old) for part in parts if part is not replaced[old]]
    return replaced, added


def _name(step: Step) -> str:
    return step.found.name or "the model"


def _listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
