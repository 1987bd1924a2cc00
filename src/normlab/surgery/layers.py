"""What follows a swap around the layers: fast paths, hooks, activations in place, and the optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from normlab.surgery.carry import Carried
from normlab.surgery.edits import Edits
from normlab.surgery.fast_paths import guard_fast_paths
from normlab.surgery.hooks import mend_inplace, pass_on
from normlab.surgery.optimizers import repair
from normlab.surgery.plan import Step

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Parameters = Mapping[str, "nn.Parameter"]
Pairs = Iterable[tuple[Step, Carried]]


def around(edits: Edits, pairs: Pairs, optimizer: Optimizer | None, before: Parameters) -> tuple[tuple[str, ...], str]:
    """Mends what depends on the replaced layers; every change can be undone.

    Arguments:
        edits: the changes so far.
        pairs: what was replaced by what.
        optimizer: the optimizer of the model, if it is known.
        before: the parameters of the model as it was, by name.

    Returns:
        What must be known of the result, and what was changed in the optimizer.
    """
    made = tuple(pairs)
    remarks = [
        f"{step.found.name or 'the model'}: {text} was left behind"
        for step, one in made
        for text in pass_on(step.found.module, one.layer, one.replaced).left
    ]
    remarks += _guard(edits, made)
    remarks += _mend(edits, made)
    return tuple(remarks), "" if optimizer is None else _repair(edits, made, optimizer, before)


def _guard(edits: Edits, pairs: Pairs) -> list[str]:
    paths = guard_fast_paths(edits.model, [one.layer for _, one in pairs])
    edits.remember(paths.undo)
    guarded = [guard.name or "the model" for guard in paths.guards if guard.attribute == "activation_relu_or_gelu"]
    text = "fast path of torch switched off, which would compute LayerNorm in evaluation: "
    own = "a fast path of its own, which computes LayerNorm in evaluation and has no known switch"
    return [text + ", ".join(guarded)] * bool(guarded) + [f"{name or 'the model'}: {own}" for name in paths.unguarded]


def _mend(edits: Edits, pairs: Pairs) -> list[str]:
    slots = {name: step.slot for step, _ in pairs for name in step.found.names}
    behind = {name: slot.activation for name, slot in slots.items() if slot is not None and slot.activation}
    inplace = mend_inplace(edits.model, slots, behind)
    edits.remember(inplace.undo)
    mended = "no longer writes into the output of the norm, which must not be written into: "
    named = "full backward hooks on a norm would raise, as an activation behind it writes in place: "
    texts = ((mended, inplace.mended), (named, inplace.named))
    return [text + ", ".join(names) for text, names in texts if names]


def _repair(edits: Edits, pairs: Pairs, optimizer: Optimizer, before: Parameters) -> str:
    after = dict(edits.model.named_parameters())
    replaced, added = _successors(before, after)
    for _, one in pairs:
        replaced |= {old: new for old, new in one.replaced.items() if old in replaced}
    taken = {id(new) for new in replaced.values()}
    added += [pair for _, one in pairs for pair in one.added if id(pair[0]) not in taken]
    repaired = repair(optimizer, replaced, added, {parameter: name for name, parameter in after.items()})
    edits.remember(repaired.undo)
    return repaired.text


def _successors(
    before: Parameters, after: Parameters
) -> tuple[dict[nn.Parameter, nn.Parameter | None], list[tuple[nn.Parameter, nn.Parameter | None]]]:
    """What took the place of parameters that left; a parametrized one is held by what it is computed from."""
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
