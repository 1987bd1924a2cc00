"""The norms inside a user's model, and their share of a step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError
from normlab.norms.catalog import parse
from normlab.norms.spec import Norm
from normlab.profiling.ask import (
    LAYOUTS,
    check_repeats,
    find_device,
    find_dtype,
    load_builder,
    parse_input,
    reason_against,
    slot_of,
)
from normlab.profiling.clock import Say, Stopwatch, Timings, Work, interleave
from normlab.profiling.layers import say_nothing
from normlab.profiling.machine import describe_machine
from normlab.profiling.spec import ModelProfile, NormCost, Spread, Swapped
from normlab.records import Layout, Slot

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_STEP = "the whole step"
_NAMES = re.compile(r"norm|dyt|dynamictanh|dynamicerf|derf|pono|filterresponse|tlu$", re.IGNORECASE)


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    """The norms of a model by name: torch's own, and modules without children whose class is called like one.

    A shared module appears once, under its first name.

    >>> from torch import nn
    >>> list(norms_of(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU())))
    ['1']
    """
    return {name: module for name, module in model.named_modules() if _is_norm(module)}


def _is_norm(module: nn.Module) -> bool:
    from torch.nn import GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
    from torch.nn.modules.batchnorm import _NormBase

    if isinstance(module, _NormBase | LayerNorm | GroupNorm | RMSNorm | LocalResponseNorm):
        return True
    return bool(_NAMES.search(type(module).__name__)) and not any(True for _ in module.children())


def profile_model(
    model: nn.Module | Callable[[], Any] | str,
    inputs: str | Sequence[str] | Sequence[Tensor] = (),
    *,
    norms: Sequence[str] = (),
    dtype: str | None = None,
    device: str | None = None,
    repeats: int | None = None,
    seconds: float = 20.0,
    on_progress: Say = say_nothing,
) -> ModelProfile:
    """Measures each norm of a model in place, between whole steps, and its share of them.

    A step is a forward and a backward pass from the mean square of the outputs, without an optimizer. One step is
    watched: inputs of every norm and the gradients that reach it. Then, round after round and in an order drawn anew
    for each, steps are timed, and every norm is run again on what it got. The model is as it was afterwards:
    parameters, gradients, buffers, modes and random numbers. It stays in the mode that it is in.

    Arguments:
        model: a module; a function that makes one, or one with its inputs as ``(model, inputs)``; or where that
            function is, as ``"package.module:function"``.
        inputs: tensors, or texts such as ``"8,3,224,224"`` (normal numbers) and ``"8,128:1000"`` (whole ones below
            1000).
        norms: what the share would be if all norms of the model were one of these.
        dtype: of the model and of inputs that are made here; the model's own by default. With another type or
            device a copy of the model is measured.
        device: ``cpu``, or a GPU such as ``cuda:0``; the model's own by default.
        repeats: rounds; by default as many as fit into ``seconds``, at least 5.
        seconds: for all rounds.
        on_progress: told in words how far it is.

    Raises:
        InputError: the model cannot be made, holds no norm, or does not take the inputs.

    >>> from torch import nn
    >>> found = profile_model(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)), "16,4", repeats=1)
    >>> [(norm.name, norm.kind, norm.shape, norm.calls) for norm in found.norms]
    [('1', 'LayerNorm', (16, 8), 1)]
    """
    import torch

    check_repeats(repeats, seconds)
    kind, wanted = find_dtype(dtype) if dtype else None, find_device(device) if device else None
    others = [parse(text) for text in norms]
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        built, given = _build(model, inputs, wanted, kind)
        own = _first(built)
        place = own.device
        found = norms_of(built)
        name = model if isinstance(model, str) else type(built).__name__
        if not found:
            raise InputError("the model must hold a normalization layer", f"{name} without one", "Give another model.")
        with _as_it_was(built):
            on_progress("the first step")
            calls = _watch(built, found, given, name)
            works: dict[str, Work] = {_STEP: _step(built, given)}
            works |= {key: _again(module, calls[key]) for key, module in found.items() if calls[key]}
            replaced = [_replacement(norm, found, calls, own) for norm in others]
            works |= {f"all as {one.norm}": one.work for one in replaced if one.work}
            timed = interleave(works, place, repeats, seconds, on_progress)
        return ModelProfile(
            model=name,
            inputs=tuple(tuple(tensor.shape) for tensor in _tensors(given)),
            device=str(place),
            training=built.training,
            rounds=len(timed[_STEP].rounds),
            step=Spread.of(timed[_STEP].totals()),
            share=_total_share(timed, found),
            norms=tuple(_norm_costs(built, found, calls, timed)),
            swapped=tuple(_swapped(one, timed, found) for one in replaced),
            machine=describe_machine(place),
        )


def _build(
    model: nn.Module | Callable[[], Any] | str,
    inputs: Any,
    device: torch.device | None,
    dtype: torch.dtype | None,
) -> tuple[nn.Module, Any]:
    """The model and what it is called with: a tuple, or a dictionary of names."""
    from torch import nn

    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    makers = [parse_input(text) if isinstance(text, str) else None for text in texts]
    made: Any = load_builder(model) if isinstance(model, str) else model
    own: Any = ()
    if not isinstance(made, nn.Module):
        try:
            made = made()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError("the model must be made without arguments", reason, "Mend the function.") from error
        if isinstance(made, tuple) and len(made) == 2:
            made, own = made
    elif device or dtype:
        made = deepcopy(made)
    if not isinstance(made, nn.Module):
        rule = "the function must give a torch.nn.Module, or one with its inputs as (model, inputs)"
        raise InputError(rule, f"a {type(made).__name__}", "Return the model.")
    if not texts and isinstance(own, tuple | Mapping) and not own:
        raise InputError("the model needs inputs", "none", "Give --input 8,3,224,224, or return (model, inputs).")
    if device or dtype:
        made = made.to(device=device, dtype=dtype)
    like = _first(made)
    if texts:
        pairs = zip(makers, texts, strict=True)
        return made, tuple(make(like.device, like.dtype) if make else _moved(text, like.device) for make, text in pairs)
    if isinstance(own, Mapping):
        return made, {name: _moved(value, like.device) for name, value in own.items()}
    return made, tuple(_moved(value, like.device) for value in (own if isinstance(own, tuple | list) else (own,)))


def _first(model: nn.Module) -> Tensor:
    """A tensor of the model's type and on its device."""
    import torch

    floating = (value for value in (*model.parameters(), *model.buffers()) if value.is_floating_point())
    return next(floating, torch.zeros(()))


def _moved(value: Any, device: torch.device) -> Any:
    import torch

    return value.to(device) if isinstance(value, torch.Tensor) else value


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Afterwards buffers, gradients and modes are those of before."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for buffer, kept in buffers:
            buffer.detach().copy_(kept)
        for parameter, gradient in gradients:
            parameter.grad = gradient


@dataclass
class _Call:
    """What a norm got in one call of the watched step; ``gradient`` is None where none reached it."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    gradient: Tensor | None = None

    def reached(self, gradient: Tensor) -> None:
        """Keeps the gradient that reached the output."""
        self.gradient = gradient.detach().clone()


@dataclass(frozen=True)
class _Replacement:
    norm: str
    work: Work | None
    left_out: tuple[str, ...] = field(default=())


def _watch(model: nn.Module, norms: Mapping[str, nn.Module], inputs: Any, name: str) -> dict[str, list[_Call]]:
    """One step, in which every call of every norm is kept with the gradient that reached its output."""
    import torch

    calls: dict[str, list[_Call]] = {key: [] for key in norms}

    def keep(key: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            call = _Call(tuple(map(_kept, args)), {word: _kept(value) for word, value in kwargs.items()})
            calls[key].append(call)
            if isinstance(output, torch.Tensor) and output.requires_grad:
                output.register_hook(call.reached)  # type: ignore[no-untyped-call]

        return hook

    hooks = [module.register_forward_hook(keep(key), with_kwargs=True) for key, module in norms.items()]
    try:
        _step(model, inputs)(Stopwatch(torch.device("cpu")))
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in _tensors(inputs)) or "no tensor"
        lines = str(error).strip().splitlines() or [""]
        rule = f"{name} must take the inputs and give outputs that have a gradient"
        given = f"inputs {shapes} ({type(error).__name__}: {lines[0]})"
        raise InputError(rule, given, "Give inputs that fit: --input 8,3,224,224, or 8,128:1000 for tokens.") from error
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _kept(value: Any) -> Any:
    """A copy of a tensor that needs a gradient as the original did, so that nothing changes it in place later."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad)


def _step(model: nn.Module, inputs: Any) -> Work:
    """Forward and backward pass of the whole model."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def work(watch: Stopwatch) -> None:
        for parameter in parameters:
            parameter.grad = None
        watch.mark()
        outputs = model(**inputs) if isinstance(inputs, dict) else model(*inputs)
        wanted = [tensor for tensor in _tensors(outputs) if tensor.requires_grad and tensor.is_floating_point()]
        if not wanted:
            raise InputError("the model's outputs must have a gradient", "outputs without one", "Check the model.")
        loss = wanted[0].square().mean()
        for tensor in wanted[1:]:
            loss = loss + tensor.square().mean()
        watch.mark()
        loss.backward()  # type: ignore[no-untyped-call]
        watch.mark()

    return work


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _again(module: Callable[..., Any], calls: Sequence[_Call], parameters: Sequence[nn.Parameter] = ()) -> Work:
    """All calls of a norm in a step once more: forward passes, then backward passes."""
    import torch
    from torch import nn

    own = tuple(module.parameters()) if isinstance(module, nn.Module) else tuple(parameters)
    learned = [parameter for parameter in own if parameter.requires_grad]
    wanted = [
        [*(t for t in (*_tensors(call.args), *_tensors(call.kwargs)) if t.requires_grad), *learned] for call in calls
    ]

    def work(watch: Stopwatch) -> None:
        watch.mark()
        outputs = [module(*call.args, **call.kwargs) for call in calls]
        watch.mark()
        found = [
            torch.autograd.grad(output, leaves, call.gradient, allow_unused=True)
            for output, call, leaves in zip(outputs, calls, wanted, strict=True)
            if call.gradient is not None and leaves
        ]
        watch.mark()
        del outputs, found

    return work


def _norm_costs(
    model: nn.Module,
    norms: Mapping[str, nn.Module],
    calls: Mapping[str, Sequence[_Call]],
    timed: Mapping[str, Timings],
) -> Iterator[NormCost]:
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    step = timed[_STEP].totals()
    for key, module in norms.items():
        rounds = timed.get(key, Timings([(0.0, 0.0)] * len(step)))
        first = next(_tensors(calls[key][0].args), None) if calls[key] else None
        unreached = sum(call.gradient is None for call in calls[key])
        note = "" if calls[key] else "not called in this step"
        if unreached:
            note = f"no gradient reaches {unreached} of its {len(calls[key])} calls"
        yield NormCost(
            name=key,
            kind=type(module).__name__,
            shape=tuple(first.shape) if first is not None else (),
            calls=len(calls[key]),
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            forward=Spread.of(rounds.phase(0)),
            backward=Spread.of(rounds.phase(1)),
            share=Spread.of(own / whole for own, whole in zip(rounds.totals(), step, strict=True)),
            also=tuple(names[module][1:]),
            note=note,
        )


def _seconds_of_norms(timed: Mapping[str, Timings], norms: Mapping[str, nn.Module]) -> list[float]:
    """Of all norms together, in every round."""
    totals = [timed[key].totals() for key in norms if key in timed]
    return [sum(parts) for parts in zip(*totals, strict=True)] if totals else [0.0] * len(timed[_STEP].rounds)


def _total_share(timed: Mapping[str, Timings], norms: Mapping[str, nn.Module]) -> Spread:
    pairs = zip(_seconds_of_norms(timed, norms), timed[_STEP].totals(), strict=True)
    return Spread.of(own / whole for own, whole in pairs)


def _replacement(
    norm: Norm, norms: Mapping[str, nn.Module], calls: Mapping[str, Sequence[_Call]], like: Tensor
) -> _Replacement:
    """Another norm in the place of every one, on the same inputs and gradients, as far as it fits."""
    works, left_out = [], []
    for key, module in norms.items():
        if not calls[key]:
            continue
        first = next(_tensors(calls[key][0].args), None)
        slot = _slot(module, first) if first is not None else None
        if first is None or slot is None:
            left_out.append(f"{key}: its input is no tensor of a known layout")
        elif norm.spec.wrap:
            left_out.append(f"{key}: {norm} changes weights instead")
        elif reason := reason_against(norm, slot, len(first)):
            left_out.append(f"{key}: {reason}")
        else:
            layer = norm.build(slot).to(like.device, like.dtype).train(module.training)
            works.append(_again(layer, [_Call(call.args[:1], {}, call.gradient) for call in calls[key]]))
    return _Replacement(str(norm), _in_a_row(works) if works else None, tuple(left_out))


def _slot(module: nn.Module, first: Tensor) -> Slot | None:
    """The slot of a norm: torch's layers for sequences take the features last, those for images the channels second."""
    from torch.nn import LayerNorm, RMSNorm

    last = isinstance(module, LayerNorm | RMSNorm) or (first.dim() == 3 and not _channels_second(module, first))
    fitting: list[Layout] = [layout for layout in LAYOUTS if len(layout) == first.dim()]
    for layout in fitting:
        if first.dim() == 2 or (layout[-1] == "C") == last:
            return slot_of(tuple(first.shape), layout)
    return None


def _channels_second(module: nn.Module, first: Tensor) -> bool:
    """Whether the learned numbers of a norm on 3 axes are as many as its second axis has places."""
    sizes = [parameter.numel() for parameter in module.parameters()]
    return first.shape[1] in sizes or first.shape[2] not in sizes


def _in_a_row(works: Sequence[Work]) -> Work:
    """Several works as one, each with its own watch; only the sum of the whole is marked."""

    def work(watch: Stopwatch) -> None:
        watch.mark()
        for one in works:
            one(_IGNORED)
        watch.mark()

    return work


class _Unmarked(Stopwatch):
    """A watch that nobody reads."""

    def __init__(self) -> None: ...

    def mark(self) -> None: ...


_IGNORED = _Unmarked()


def _swapped(one: _Replacement, timed: Mapping[str, Timings], norms: Mapping[str, nn.Module]) -> Swapped:
    if one.work is None:
        return Swapped(one.norm, None, None, one.left_out)
    theirs = timed[f"all as {one.norm}"].totals()
    rounds = zip(theirs, timed[_STEP].totals(), _seconds_of_norms(timed, norms), strict=True)
    share = Spread.of(other / max(whole - own + other, 1e-12) for other, whole, own in rounds)
    return Swapped(one.norm, Spread.of(theirs), share, one.left_out)
