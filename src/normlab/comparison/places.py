"""The places of a user's model where norms go, and how a norm is put there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from normlab.norms.slot import Slot
from normlab.recognition.spec import Affine, FoundNorm

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Place:
    """A norm of the model, and the slot that it leaves.

    Arguments:
        found: the norm.
        slot: its slot.
    """

    found: FoundNorm
    slot: Slot


def find_places(model: nn.Module, inputs: Any) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """The places of a model's norms, and why others stay as they are."""
    from torch import nn

    shapes: dict[str, tuple[int, ...]] = {}
    layers: dict[str, nn.Module] = {}
    kinds = {nn.modules.batchnorm._BatchNorm: "batch", nn.GroupNorm: "group", nn.LayerNorm: "layer"}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, tuple(kinds)):
            layers[name] = module
            hooks.append(
                module.register_forward_hook(
                    lambda _, args, output, name=name: shapes.update({name: tuple(args[0].shape)})
                )
            )
    import torch

    with torch.no_grad():
        model(**inputs) if isinstance(inputs, dict) else model(*inputs)
    for hook in hooks:
        hook.remove()
    out = []
    for name, module in layers.items():
        shape = shapes[name]
        last = isinstance(module, nn.LayerNorm)
        kind = next(text for kind, text in kinds.items() if isinstance(module, kind))
        options = {"groups": module.num_groups} if kind == "group" else {}
        affine = Affine("weight", "bias")
        if last and len(shape) == 3:
            slot = Slot(shape[-1], "NLC", shape[1:-1], name=name)
        else:
            slot = Slot(shape[1], {2: "NC", 3: "NCL", 4: "NCHW", 5: "NCDHW"}[len(shape)], shape[2:], name=name)
        out.append(Place(FoundNorm(name, (name,), module, kind, options, affine=affine), slot))
    return tuple(out), ()


def fill(model: nn.Module, places: Sequence[Place], make_norm: Callable[[Slot], nn.Module]) -> None:
    """Puts a norm into every place of a new model, which is changed, with what the norms there have learned."""
    for place in places:
        current = replace(place.found, module=model.get_submodule(place.found.name))
        layer = make_norm(place.slot)
        carry(current, layer)
        for name in place.found.names:
            model.set_submodule(name, layer)


def carry(found: FoundNorm, layer: nn.Module) -> None:
    """Gamma and beta of a norm, and all of its state where the other is of its class."""
    import torch

    if type(layer) is type(found.module):
        layer.load_state_dict(found.module.state_dict())
        return
    with torch.no_grad():
        for mine, theirs in (("weight", found.affine.weight), ("bias", found.affine.bias)):
            target, source = getattr(layer, mine, None), getattr(found.module, theirs, None) if theirs else None
            if isinstance(target, nn_parameter()) and source is not None and target.shape == source.shape:
                target.copy_(source)


def nn_parameter() -> type:
    from torch import nn

    return nn.Parameter
