"""What users hang on a layer, passed on to the layer that takes its place: hooks, attributes, parametrizations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Hook = Callable[..., object]
HOOKS = {  # where a module keeps its hooks, with what marks them, and what they are called in a report
    "_forward_hooks": "forward hook",
    "_forward_pre_hooks": "forward pre-hook",
    "_backward_hooks": "backward hook",
    "_backward_pre_hooks": "backward pre-hook",
    "_state_dict_hooks": "state-dict hook",
    "_state_dict_pre_hooks": "state-dict pre-hook",
    "_load_state_dict_pre_hooks": "load-state-dict pre-hook",
    "_load_state_dict_post_hooks": "load-state-dict post-hook",
}
MARKS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


@dataclass(frozen=True)
class Passed:
    """What hung on a layer: what its successor has now, and what it could not take over.

    Arguments:
        carried: what was passed on, in words.
        left: what was not, each with the reason.
    """

    carried: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def pass_on(
    old: nn.Module, new: nn.Module, successors: Mapping[nn.Parameter, nn.Parameter | None] | None = None
) -> Passed:
    """Hangs on the new layer what hangs on the old one.

    The hooks of modules keep their order, and handles that somebody holds remove them from the new layer as well,
    unless it has hooks of its own. What belongs to the old layer itself is left, and said: hooks that are its own
    methods, post-accumulate hooks on its parameters (which mostly know the parameter, as an optimizer step within the
    backward pass), modules that were added to it, and what its successor has no parameter for.

    Arguments:
        old: the layer that leaves; it stays as it is.
        new: the layer that takes its place.
        successors: for parameters of the old layer, those that took their place, wherever they are in the new one; by
            default those of the same name.

    >>> from torch import nn
    >>> old, new = nn.BatchNorm1d(3), nn.GroupNorm(1, 3)
    >>> handle, old.tag = old.register_forward_hook(lambda layer, inputs, output: -output), "first"
    >>> pass_on(old, new).carried, new.tag
    (('forward hook', "attribute 'tag'"), 'first')
    """
    carried: list[str] = []
    left: list[str] = []
    for attribute, kind in HOOKS.items():
        _pass_hooks(old, new, attribute, kind, carried, left)
    _pass_attributes(old, new, carried, left)
    _pass_parametrizations(old, new, carried, left)
    for name, parameter in old.named_parameters(recurse=False):
        successor = new._parameters.get(name) if successors is None else successors.get(parameter)
        _pass_tensor_hooks(name, parameter, successor, carried, left)
    left += [f"module {name!r}, which was added to it" for name in _added_modules(old)]
    return Passed(tuple(carried), tuple(left))


def _pass_hooks(old: nn.Module, new: nn.Module, attribute: str, kind: str, carried: list[str], left: list[str]) -> None:
    hooks, present = vars(old).get(attribute), vars(new).get(attribute)
    if not hooks:
        return
    own = {key: hook for key, hook in hooks.items() if _bound_to(hook, old)}
    left += [f"{kind} {_title(hook)}, a method of the layer itself" for hook in own.values()]
    foreign = {key: _with_layer(hook, new) for key, hook in hooks.items() if key not in own}
    if attribute == "_backward_hooks" and foreign:
        vars(new)["_is_full_backward_hook"] = old._is_full_backward_hook
    if not present and not own and all(foreign[key] is hook for key, hook in hooks.items()):
        vars(new)[attribute] = hooks  # the very same, so that handles remove from both
    else:
        vars(new)[attribute].update(foreign)
    for mark in MARKS:
        if mark.startswith(attribute):
            marks = {key: value for key, value in vars(old)[mark].items() if key in foreign}
            vars(new)[mark].update(marks)
    carried += [kind] * len(foreign)


def _bound_to(hook: object, layer: nn.Module) -> bool:
    inner = getattr(hook, "hook", hook)  # torch wraps those that load state
    return getattr(inner, "__self__", None) is layer


def _with_layer(hook: Hook, new: nn.Module) -> Hook:
    """The hook, wrapped anew where torch wrapped it together with its layer."""
    from torch.nn.modules.module import _WrappedHook

    return _WrappedHook(hook.hook, new) if isinstance(hook, _WrappedHook) and hook.with_module else hook


def _title(hook: object) -> str:
    inner = getattr(hook, "hook", hook)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _pass_attributes(old: nn.Module, new: nn.Module, carried: list[str], left: list[str]) -> None:
    """Passes on what was set from outside: what no method of the layer's classes sets or reads."""
    from torch import nn

    known = set(vars(nn.Module())) | _names_in(type(old))
    for name, value in vars(old).items():
        if name in known or name == "forward":
            continue
        if hasattr(new, name):
            left.append(f"attribute {name!r}, as its successor has one of its own")
        else:
            setattr(new, name, value)
            carried += [f"attribute {name!r}"] * (not name.startswith("_"))  # those are for libraries alone
    if "forward" in vars(old):
        left.append("a `forward` that was set on the layer")


def _names_in(kind: type) -> set[str]:
    """All names in the code of a class and its bases, those aside that every module has."""
    from torch import nn

    bases = (base for base in kind.__mro__ if base not in nn.Module.__mro__)
    functions = (function for base in bases for function in vars(base).values())
    codes = (getattr(function, "__code__", None) for function in functions)
    return {name for code in codes if code is not None for name in code.co_names}


def _added_modules(layer: nn.Module) -> Iterator[str]:
    known = _names_in(type(layer))
    return (name for name in layer._modules if name not in known and name != "parametrizations")


def _pass_parametrizations(old: nn.Module, new: nn.Module, carried: list[str], left: list[str]) -> None:
    """Has the new layer compute a tensor of the same name and shape in the same way, from the same original."""
    import torch
    from torch.nn.utils import parametrize

    for name, ways in getattr(old, "parametrizations", {}).items():
        target = new._parameters.get(name)
        if target is None or target.shape != getattr(old, name).shape:
            left.append(f"parametrization of {name!r}, as its successor has none of that shape")
            continue
        for way in ways:
            parametrize.register_parametrization(new, name, way, unsafe=True)
        with torch.no_grad():
            for key, original in ways.named_parameters(recurse=False):
                twin = new.get_submodule("parametrizations").get_submodule(name).get_parameter(key)
                twin.copy_(original)
                twin.requires_grad_(original.requires_grad)
        carried.append(f"parametrization of {name!r}")


def _pass_tensor_hooks(
    name: str, old: nn.Parameter, new: nn.Parameter | None, carried: list[str], left: list[str]
) -> None:
    """Passes on the hooks and marks of a parameter to the one of the same name and shape."""
    fits = new is not None and new.shape == old.shape
    for mark, value in vars(old).items():
        if new is not None and not hasattr(new, mark):
            setattr(new, mark, value)
            carried.append(f"mark {mark!r} of {name!r}")
    for hook in (old._backward_hooks or {}).values():
        if new is not None and fits and new.requires_grad:
            new.register_hook(hook)  # type: ignore[no-untyped-call]
            carried.append(f"hook on {name!r}")
        else:
            left.append(f"hook on {name!r}, as its successor has no parameter of that shape that is trained")
    for _ in getattr(old, "_post_accumulate_grad_hooks", None) or {}:
        left.append(f"post-accumulate hook on {name!r}: register one for the new parameter")
