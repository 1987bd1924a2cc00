"""The norms inside a model, whoever wrote their classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from normlab import norms
from normlab.recognition.behaviour import behaviour, may_be_norm, named_like_a_norm
from normlab.recognition.known import Facts, is_scripted, norm_of, own_facts, own_forward, torch_class, torch_facts
from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import nn

_ROLES = (
    (
        "query-key",
        re.compile(r"(^|[._])(q|k|query|key|q_a|kv_a)_?(layer_?)?norm|norm_?(q|k|query|key)$", re.IGNORECASE),
    ),
    ("embedding", re.compile(r"embed", re.IGNORECASE)),
    ("shortcut", re.compile(r"shortcut|downsample|skip", re.IGNORECASE)),
    ("output", re.compile(r"^([a-z_]+\.)*(final_?layer_?norm|ln_?f|norm_?f|norm|layer_?norm|post_?layernorm)$")),
)
_PLAIN = (int, float, str, tuple, list, dict, type(None))


def found_norms(model: nn.Module, named: Callable[[str, nn.Module], bool] | None = None) -> tuple[FoundNorm, ...]:
    """Every norm of a model in the order of its parts; a shared one once, with all of its names.

    Torch's and normlab's layers say themselves what they compute, whatever stands in ``torch.nn`` at the moment.
    Subclasses with a forward pass of their own and layers of other libraries are told by what they do (`behaviour`).
    What such a layer is made of is no norm of its own: of a class that scales an ``nn.LayerNorm`` within it, the whole
    is the norm.

    Arguments:
        model: the model; it stays as it is.
        named: says by name and layer whether somebody calls it a norm; it is then run beside the formulas also where
            nothing in its class or its parts is called or built like one.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Sequential(nn.LayerNorm(6)))
    >>> [(norm.name, norm.kind, norm.channels) for norm in found_norms(model)]
    [('1', 'batch', 6), ('2.0', 'layer', 6)]
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    known: dict[Any, Facts] = {}
    listed = (
        (module, recognize(module, known, named is not None and any(named(name, module) for name in every)))
        for module, every in names.items()
    )
    found = [
        replace(norm, name=names[module][0], names=tuple(names[module])) for module, norm in listed if norm is not None
    ]
    wholes = tuple(f"{name}." if name else "" for norm in found if norm.kind for name in norm.names)
    found = [norm for norm in found if not all(_is_inside(name, wholes) for name in norm.names)]
    order = [norm.name for norm in found]
    return tuple(replace(norm, role=_role(norm.name, order)) for norm in found)


def recognize(module: nn.Module, known: dict[Any, Facts] | None = None, named: bool = False) -> FoundNorm | None:
    """What a single layer computes, if it is a norm; None for anything else.

    Arguments:
        module: the layer.
        known: what was found of layers that are built alike, which is looked up and added to.
        named: whether somebody calls it a norm.

    >>> from torch import nn
    >>> recognize(nn.GroupNorm(2, 6)).options
    {'groups': 2, 'eps': 1e-05}
    >>> recognize(nn.Linear(2, 3)) is None
    True
    """
    library = type(module).__module__.partition(".")[0]
    if is_scripted(module):
        script: Facts = {"obstacle": "it is a script of TorchScript, whose parts cannot be replaced"}
        return norm_of(module, script, library) if named_like_a_norm(str(module.original_name)) else None
    if isinstance(module, norms.FrozenNorm):
        inner = recognize(module.layer)
        return None if inner is None else replace(inner, module=module, frozen=True, library=library)
    if facts := own_facts(module):
        return norm_of(module, facts, library)
    name = torch_class(module)
    if name and not own_forward(module):
        return norm_of(module, torch_facts(module, name), library)
    foreign = not type(module).__module__.startswith(("torch.nn.", "normlab."))
    if not name and not (foreign and may_be_norm(module, named)):
        return None
    key, store = _key(module), {} if known is None else known
    if key not in store:
        store[key] = behaviour(module)
    return norm_of(module, store[key], library)


def _key(module: nn.Module) -> Any:
    """What two layers that compute the same have in common: class, shapes, attributes, and the same of their children.

    Of plain values the contents count; any other attribute, such as a function or a configuration, must be the same.
    """
    from torch import nn

    tensors = {**module._parameters, **module._buffers}
    shapes = tuple((name, None if value is None else tuple(value.shape)) for name, value in tensors.items())
    own = vars(nn.Module())
    others = {name: value for name, value in vars(module).items() if name not in own or name == "training"}
    plain = tuple((name, repr(value) if isinstance(value, _PLAIN) else id(value)) for name, value in others.items())
    children = tuple((name, _key(child)) for name, child in module.named_children())
    return (type(module), shapes, plain, children)


def _is_inside(name: str, wholes: tuple[str, ...]) -> bool:
    """Whether a module of that name is a part of one of the others, whose names end with a stop."""
    return bool(name) and name.startswith(wholes)


def _role(name: str, order: Sequence[str]) -> str:
    """What the name says; the norm of a block that holds no other, with norms behind it, is not that of an output.

    Arguments:
        name: of the norm.
        order: the names of all norms, in the order of the model.
    """
    role = next((role for role, pattern in _ROLES if pattern.search(name)), "block")
    parent, stop, _ = name.rpartition(".")
    is_alone = bool(stop) and not any(other.startswith(f"{parent}.") for other in order if other != name)
    return "block" if role == "output" and is_alone and name != order[-1] else role
