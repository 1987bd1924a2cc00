"""The norms inside a user's model, and their share of a step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError
from normlab.profiling.clock import Say, Timings, Work, interleave
from normlab.profiling.inputs import build_model, dtypes_of, first_tensor, tensors_of
from normlab.profiling.layers import say_nothing
from normlab.profiling.machine import describe_machine
from normlab.profiling.replacements import refuse_nowhere, replacement, swapped
from normlab.profiling.requests import (
    as_texts,
    check_memory_format,
    check_repeats,
    find_device,
    find_dtype,
    parse_norm,
)
from normlab.profiling.spec import ModelProfile, NormCost, Spread
from normlab.profiling.step import Call, again, as_it_was, learns, step_of, watch_step

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SECONDS = 20.0
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
    inputs: str | Tensor | Sequence[str | Tensor] | Sequence[int] = (),
    *,
    norms: Sequence[str] | str = (),
    dtype: str | torch.dtype | None = None,
    memory_format: str = "contiguous",
    device: str | None = None,
    repeats: int | None = None,
    seconds: float = SECONDS,
    on_progress: Say = say_nothing,
) -> ModelProfile:
    """Measures each norm of a model in place, between whole steps, and its share of them.

    A step is a forward and a backward pass from the mean square of the outputs, without an optimizer. One step is
    watched: inputs of every norm and the gradients that reach it. Then, round after round and in an order drawn anew
    for each, steps are timed, and every norm is run again on what it got. The model is as it was afterwards:
    parameters, gradients, buffers, modes and random numbers. It stays in the mode that it is in. A step of a frozen
    model, of which no parameter requires a gradient, is a forward pass alone.

    Arguments:
        model: a module; a function that makes one, or one with its inputs as ``(model, inputs)``; or where that
            function is, as ``"package.module:function"``.
        inputs: one or several tensors, or texts such as ``"8,3,224,224"`` (normal numbers) and ``"8,128:1000"``
            (whole ones below 1000).
        norms: what the share would be if all norms of the model were one of these.
        dtype: of the model and of inputs that are made here; the model's own by default. With another type, order
            in memory or device a copy of the model is measured.
        memory_format: ``channels_last`` for the model's weights and its inputs with 4 or 5 axes; ``contiguous`` leaves
            them as they are.
        device: ``cpu``, or a GPU such as ``cuda:0``; the model's own by default.
        repeats: rounds; by default as many as fit into ``seconds``, at least 5.
        seconds: for all rounds.
        on_progress: told in words how far it is.

    Raises:
        InputError: the model cannot be made, holds no norm, or does not take the inputs; or none of ``norms`` fits
            anywhere in it.

    >>> from torch import nn
    >>> found = profile_model(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)), "16,4", repeats=1)
    >>> [(norm.name, norm.kind, norm.shape, norm.calls) for norm in found.norms]
    [('1', 'LayerNorm', (16, 8), 1)]
    """
    import torch

    check_repeats(repeats, seconds, SECONDS)
    check_memory_format(memory_format)
    kind, wanted = find_dtype(dtype) if dtype else None, find_device(device) if device else None
    others = [parse_norm(text) for text in as_texts(norms)]
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        built, given = build_model(model, inputs, wanted, kind, memory_format)
        own = first_tensor(built)
        place = own.device
        found = norms_of(built)
        name = model if isinstance(model, str) else type(built).__name__
        if not found:
            raise InputError("the model must hold a normalization layer", f"{name} without one", "Give another model.")
        with as_it_was(built):
            on_progress("the first step")
            learning = learns(built, given)
            calls = watch_step(built, found, given, name)
            works: dict[str, Work] = {_STEP: step_of(built, given)}
            works |= {key: again(module, calls[key]) for key, module in found.items() if calls[key]}
            replaced = [replacement(norm, found, calls, own, learning) for norm in others]
            refuse_nowhere(replaced)
            works |= {one.name: one.work for one in replaced if one.work}
            timed = interleave(works, place, repeats, seconds, on_progress)
        return ModelProfile(
            model=name,
            inputs=tuple(tuple(tensor.shape) for tensor in tensors_of(given)),
            dtype=dtypes_of(built),
            memory_format=memory_format,
            device=str(place),
            training=built.training,
            backward=learning,
            rounds=len(timed[_STEP].rounds),
            step=Spread.of(timed[_STEP].totals()),
            share=_total_share(timed, found),
            norms=tuple(_norm_costs(built, found, calls, timed, learning)),
            swapped=tuple(
                swapped(one, timed, timed[_STEP].totals(), _seconds_of_norms(timed, one.fits)) for one in replaced
            ),
            machine=describe_machine(place),
        )


def _norm_costs(
    model: nn.Module,
    norms: Mapping[str, nn.Module],
    calls: Mapping[str, Sequence[Call]],
    timed: Mapping[str, Timings],
    learning: bool,
) -> Iterator[NormCost]:
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    step = timed[_STEP].totals()
    for key, module in norms.items():
        rounds = timed.get(key, Timings([(0.0, 0.0)] * len(step)))
        first = next(tensors_of(calls[key][0].args), None) if calls[key] else None
        unreached = sum(call.gradient is None for call in calls[key])
        note = "" if calls[key] else "not called in this step"
        if unreached and learning:
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


def _seconds_of_norms(timed: Mapping[str, Timings], norms: Iterable[str]) -> list[float]:
    """Of these norms together, in every round."""
    totals = [timed[key].totals() for key in norms if key in timed]
    return [sum(parts) for parts in zip(*totals, strict=True)] if totals else [0.0] * len(timed[_STEP].rounds)


def _total_share(timed: Mapping[str, Timings], norms: Mapping[str, nn.Module]) -> Spread:
    pairs = zip(_seconds_of_norms(timed, norms), timed[_STEP].totals(), strict=True)
    return Spread.of(own / whole for own, whole in pairs)
