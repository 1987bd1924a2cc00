"""Activations that write into the output of a norm, where that is forbidden or changes what other paths read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.surgery.carry import innermost

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class InPlace:
    """Activations that write into the output of a norm.

    Arguments:
        mended: the names of those that were switched to a result of their own.
        named: the names of those that are left as they are; with full backward hooks on their norm they would raise.
    """

    mended: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def mend_inplace(
    model: nn.Module,
    norms: Iterable[str],
    behind: Mapping[str, str] | None = None,
    change: Callable[[nn.Module, str, object], None] = setattr,
) -> InPlace:
    """Has activations behind norms leave the norms' outputs as they are, where these must not be written into.

    A full backward hook makes the output of its layer a view that must not be written into; with
    ``ReLU(inplace=True)`` behind it, the forward pass raises. Where a norm was taken out and an ``nn.Identity`` stands
    in its place, the activation would write into what came in, such as the shortcut of a residual block. Elsewhere
    the activations are only named, as tools that add hooks later, such as Opacus, would meet the same error. Values
    and gradients of a model that was right before stay the same.

    Arguments:
        model: the model; changed in place.
        norms: the names of its norms that matter.
        behind: for a norm, the module that its output goes into, where a traced forward pass tells it; where it does
            not, the next in an ``nn.Sequential``, and elsewhere all activations beside the norm.
        change: what sets an attribute of a layer, such as `normlab.surgery.edits.Edits.change`, which can be undone.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.ReLU(inplace=True))
    >>> mend_inplace(model, ["1"])
    InPlace(mended=(), named=('2',))
    >>> handle = model[1].register_full_backward_hook(lambda layer, inputs, outputs: None)
    >>> mend_inplace(model, ["1"])
    InPlace(mended=('2',), named=())
    """
    from torch import nn

    mended: dict[str, nn.Module] = {}
    named: dict[str, nn.Module] = {}
    for norm in norms:
        layer = model.get_submodule(norm)
        is_gone = isinstance(innermost(layer), nn.Identity)
        target = mended if _has_full_backward_hooks(layer) or is_gone else named
        traced = (behind or {}).get(norm)
        fused = _names_within(norm, layer) if is_gone else []
        names = fused or ([traced] if traced else _beside(model, norm))
        target.update({name: model.get_submodule(name) for name in names if _writes(model.get_submodule(name))})
    for layer in dict.fromkeys(mended.values()):
        change(layer, "inplace", False)
    return InPlace(tuple(mended), tuple(name for name, layer in named.items() if layer not in mended.values()))


def _has_full_backward_hooks(layer: nn.Module) -> bool:
    return bool(layer._backward_pre_hooks) or (bool(layer._backward_hooks) and bool(layer._is_full_backward_hook))


def _writes(layer: nn.Module) -> bool:
    return not layer._modules and vars(layer).get("inplace") is True


def _names_within(norm: str, layer: nn.Module) -> list[str]:
    """The names of the parts of a layer of that name."""
    return [name for name, _ in layer.named_modules(prefix=norm) if name != norm]


def _beside(model: nn.Module, norm: str) -> list[str]:
    """The names of the modules that may stand right behind a norm, as far as the structure tells."""
    from torch import nn

    parent_name, _, own = norm.rpartition(".")
    parent = model.get_submodule(parent_name)
    names = list(parent._modules)
    if not norm:
        return []
    if isinstance(parent, nn.Sequential):
        position = names.index(own) + 1
        names = names[position : position + 1]
    prefix = f"{parent_name}." if parent_name else ""
    return [prefix + name for name in names if name != own and parent._modules[name] is not None]
