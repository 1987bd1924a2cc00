"""Layers that are a norm and an activation in one, split into the two where that is proven equal."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms, reading
from normlab.errors import InputError
from normlab.norms.catalog import BY_NAME
from normlab.norms.copying import unwatched
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.recognition.spec import FoundNorm
from normlab.recognition.state import random_states_kept
from normlab.surgery.carry import carry
from normlab.surgery.placing import place

if TYPE_CHECKING:
    from torch import Tensor, nn

CLOSE = 1e-4  # of the largest output: kernels of the two forms may round in another order
_RULE = "a layer with an activation inside must be its norm followed by that activation"


def parts_behind(found: FoundNorm) -> tuple[nn.Module, ...]:
    """What a layer applies behind its norm, in order: its children such as dropout and activation, or a function."""
    from torch import nn

    children = dict(found.module.named_children())
    if found.activation in children:
        return tuple(child for child in children.values() if not isinstance(child, nn.Identity))
    return (norms.Activation(found.activation),)


def split(found: FoundNorm, slot: Slot) -> tuple[nn.Module, ...]:
    """The parts behind the norm of a fused layer, which are proven to be all that it does beside the norm.

    The norm is built anew with the parts behind it, and compared with a copy of the layer on random input, in
    training and in evaluation mode with the same random numbers. A frozen layer evaluates in both.

    Raises:
        InputError: the two differ, or one of them cannot be run.
    """
    import torch

    behind = parts_behind(found)
    found = _with_finite_statistics(found)
    with random_states_kept(), torch.no_grad():
        for training in (True, False):
            layer = unwatched(found.module).train(training)
            rebuilt = norms.NormThenActivation(_rebuilt(found, slot), *copy.deepcopy(behind))
            rebuilt.train(training and not found.frozen)
            inputs = _inputs(layer, slot)
            try:
                outputs = [_seeded(part, inputs) for part in (layer, rebuilt)]
            except Exception as error:
                given = f"{found.name!r}, which raised {reading.described(error)}"
                raise InputError(_RULE, given, "Leave it out by `where`.") from error
            gap, most = (outputs[0] - outputs[1]).abs().max(), outputs[0].abs().max()
            if not bool(gap <= CLOSE * most.clamp_min(1e-3)):
                mode = "training" if training else "evaluation"
                given = f"{found.name!r}, whose output in {mode} mode is up to {float(gap):.2g} off that"
                raise InputError(_RULE, given, "Leave it out by `where`, or take it apart.")
    return behind


def _with_finite_statistics(found: FoundNorm) -> FoundNorm:
    """The norm; where its running statistics are not finite, and no output tells anything, a copy with others."""
    statistics = [getattr(found.module, name) for name in found.running]
    if all(value.is_meta or value.isfinite().all() for value in statistics):
        return found
    layer = unwatched(found.module)
    for name in found.running:
        getattr(layer, name).nan_to_num_(1.0, 1.0, 1.0)
    return replace(found, module=layer)


def own_norm(found: FoundNorm) -> Norm:
    """The norm that a layer computes, with its options, without what is behind it."""
    spec = BY_NAME[found.kind]
    options = {option.name: option.default for option in spec.options}
    options |= {name: value for name, value in found.options.items() if name in options}
    if "affine" in options and "affine" not in found.options:
        options["affine"] = bool(found.affine.weight or found.affine.bias)
    if "bias" in options and "bias" not in found.options:
        options["bias"] = bool(found.affine.bias)
    return Norm(spec.name, spec, options)


def _rebuilt(found: FoundNorm, slot: Slot) -> nn.Module:
    norm = own_norm(found)
    return carry(found, place(norm, slot, found), norm, slot).layer


def _inputs(layer: nn.Module, slot: Slot) -> Tensor:
    """Random input with the layer's own device and type."""
    import torch

    like = next((tensor for tensor in (*layer.parameters(), *layer.buffers()) if tensor.is_floating_point()), None)
    sizes = {"N": 4, "C": slot.channels}
    shape = [sizes.get(letter, 5) for letter in slot.layout]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return inputs if like is None else inputs.to(device=like.device, dtype=like.dtype)


def _seeded(layer: nn.Module, inputs: Tensor) -> Tensor:
    import torch

    torch.manual_seed(0)
    output: Tensor = layer(inputs.clone())
    return output.float()
