"""The norms inside a user's model, and their share of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError, describe_error
from normlab.norms.spec import Norm
from normlab.profiling.clock import OnProgress, Stopwatch, Timings, Work, ignore_progress, interleave
from normlab.profiling.machine import describe_machine
from normlab.profiling.replacements import cost_of, refuse_nowhere, replace_all
from normlab.profiling.requests import (
    Norms,
    check_callback,
    check_memory_format,
    check_rounds,
    find_device,
    find_dtype,
    read_norms,
)
from normlab.profiling.spec import ModelProfile, NormCost, Spread
from normlab.profiling.step import Call, make_step, needs_gradient, repeat_calls, watch_step
from normlab.profiling.text import ALL, group_names, in_milliseconds
from normlab.recognition.find import found_norms
from normlab.recognition.inputs import build_model, dtypes_of, first_tensor
from normlab.recognition.state import tensors_kept
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SECONDS = 20.0
UNSTEADY = 0.5  # quartiles of a norm's time that are farther apart, as a share of the median, or half as far of a step
_STEP = "the whole step"


def profile_model(
    model: nn.Module | Callable[[], Any] | str,
    inputs: str | Tensor | Sequence[str | Tensor] | Sequence[int] | Mapping[str, str | Tensor] = (),
    *,
    norms: Norms = (),
    dtype: str | torch.dtype | None = None,
    memory_format: str = "contiguous",
    device: str | torch.device | None = None,
    repeats: int | None = None,
    seconds: float = SECONDS,
    on_progress: OnProgress = ignore_progress,
) -> ModelProfile:
    """Measures each norm of a model in place, between whole steps, and its share of them.

    A step is a forward and a backward pass from the mean square of the outputs, without an optimizer. A first step is
    watched for the inputs of every norm and the gradients that reach it. Then steps are timed round after round, and
    in every round each norm is run again on those inputs and gradients, in an order drawn anew. Afterwards the model is
    as it was before: parameters, gradients, buffers, modes and random numbers. It stays in the mode that it is in. A
    step of a frozen model, of which no parameter requires a gradient, is a forward pass alone.

    Arguments:
        model: a module; a function that makes a module, or a pair ``(model, inputs)``; or the name of such a function
            as ``"package.module:function"``.
        inputs: one or several tensors, or texts such as ``"8,3,224,224"`` (normal numbers) and ``"8,128:1000"`` (whole
            numbers below 1000); in a mapping, by the names that the model calls them.
        norms: other norms, texts or entries; for each of them the share is measured that it would have in the places
            of the model's own.
        dtype: the type of the model and of inputs that are drawn here; the model's own by default. With another type,
            order in memory or device a copy of the model is measured.
        memory_format: ``channels_last`` for the model's weights and its inputs with 4 or 5 axes; ``contiguous`` leaves
            them as they are.
        device: ``cpu``, or a GPU such as ``cuda:0``; the model's own by default.
        repeats: rounds; by default as many as fit into ``seconds``, at least 5.
        seconds: for all rounds.
        on_progress: a function that is told how far the work is.

    Raises:
        InputError: the model cannot be made, holds no norm or one that is not initialized yet, or does not take the
            inputs; none of ``norms`` fits anywhere in it; or another argument cannot be used.

    >>> from torch import nn
    >>> profile = profile_model(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)), "16,4", repeats=1)
    >>> [(norm.name, norm.kind, norm.shape, norm.calls) for norm in profile.norms]
    [('1', 'LayerNorm', (16, 8), 1)]
    """
    import torch

    check_rounds(repeats, seconds, SECONDS)
    check_memory_format(memory_format)
    check_callback(on_progress)
    new_dtype = find_dtype(dtype) if dtype is not None else None
    new_device = find_device(device) if device is not None else None
    others = read_norms(norms)
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        module, values = build_model(model, inputs, new_device, new_dtype, memory_format)
        name = model if isinstance(model, str) else type(module).__name__
        modules = {norm.name: norm.module for norm in found_norms(module)}
        if not modules:
            raise InputError("the model must hold a normalization layer", f"{name} without one", "Give another model.")
        with tensors_kept(module):
            on_progress("the first step")
            calls = watch_step(module, modules, values, name)
            return _measure(
                _Subject(name, module, values, modules, calls), others, memory_format, repeats, seconds, on_progress
            )


@dataclass(frozen=True)
class _Subject:
    """The model that is measured.

    Arguments:
        name: what it is called.
        model: the module.
        inputs: what it is called with.
        modules: its norms by name.
        calls: the calls of each norm in a step.
    """

    name: str
    model: nn.Module
    inputs: Any
    modules: Mapping[str, nn.Module]
    calls: Mapping[str, Sequence[Call]]


def _measure(
    subject: _Subject,
    others: Sequence[Norm],
    memory_format: str,
    repeats: int | None,
    seconds: float,
    on_progress: OnProgress,
) -> ModelProfile:
    model, modules, calls = subject.model, subject.modules, subject.calls
    like = first_tensor(model)
    backward = needs_gradient(model, subject.inputs)
    replacements = [replace_all(norm, modules, calls, like, backward) for norm in others]
    refuse_nowhere(replacements)
    works: dict[str, Work] = {_STEP: make_step(model, subject.inputs)}
    works |= {name: repeat_calls(module, calls[name]) for name, module in modules.items() if calls[name]}
    works |= {replacement.name: replacement.work for replacement in replacements if replacement.work}
    works = {name: _explained(name, work) for name, work in works.items()}
    timings = interleave(works, like.device, repeats, seconds, on_progress)
    steps = timings[_STEP].totals()
    step = Spread.of(steps)
    norms = tuple(_norm_costs(subject, timings, backward))
    return ModelProfile(
        model=subject.name,
        inputs=tuple(tuple(tensor.shape) for tensor in tensors_of(subject.inputs)),
        dtype=dtypes_of(model),
        memory_format=memory_format,
        device=str(like.device),
        training=model.training,
        backward=backward,
        rounds=len(steps),
        step=step,
        share=Spread.of(part / step for part, step in zip(_seconds_of(timings, modules), steps, strict=True)),
        norms=norms,
        swapped=tuple(
            cost_of(replacement, timings, steps, _seconds_of(timings, replacement.places))
            for replacement in replacements
        ),
        machine=describe_machine(like.device),
        warnings=tuple(_doubts(step, {name: Spread.of(timings[name].totals()) for name in works if name != _STEP})),
    )


def _explained(name: str, work: Work) -> Work:
    """The work, whose errors say what it was about."""

    def run(watch: Stopwatch) -> None:
        try:
            work(watch)
        except InputError:
            raise
        except Exception as error:
            rule = f"{name} must run as often as it is timed"
            raise InputError(rule, describe_error(error), "Mend the model, or give smaller inputs.") from error

    return run


def _doubts(step: Spread, norms: Mapping[str, Spread]) -> Iterator[str]:
    """Why times should not be trusted: their quartiles are far apart."""
    busy = "the machine is too busy, or the rounds are too few, to trust {}. Stop other work, or give more seconds"
    if step.width > UNSTEADY / 2:
        yield f"half of the steps took {in_milliseconds(step)} ms: {busy.format('shares')}"
    wide = [(f"{name} ({in_milliseconds(spread)} ms)", "") for name, spread in norms.items() if spread.width > UNSTEADY]
    for names, _ in group_names(wide, ALL):
        yield f"the times of {names} vary widely: {busy.format('them')}"


def _norm_costs(subject: _Subject, timings: Mapping[str, Timings], backward: bool) -> Iterator[NormCost]:
    names: dict[nn.Module, list[str]] = {}
    for name, module in subject.model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    steps = timings[_STEP].totals()
    for name, module in subject.modules.items():
        calls = subject.calls[name]
        rounds = timings.get(name, Timings([(0.0, 0.0)] * len(steps)))
        first = next(tensors_of(calls[0].args), None) if calls else None
        yield NormCost(
            name=name,
            kind=type(module).__name__,
            shape=tuple(first.shape) if first is not None else (),
            calls=len(calls),
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            forward=Spread.of(rounds.phase(0)),
            backward=Spread.of(rounds.phase(1)),
            share=Spread.of(part / step for part, step in zip(rounds.totals(), steps, strict=True)),
            also=tuple(names[module][1:]),
            note=_note(calls, backward),
        )


def _note(calls: Sequence[Call], backward: bool) -> str:
    """What must be known of the times of a norm with these calls."""
    if not calls:
        return "not called in this step"
    unreached = sum(call.gradient is None for call in calls)
    return f"no gradient reaches {unreached} of its {len(calls)} calls" if unreached and backward else ""


def _seconds_of(timings: Mapping[str, Timings], names: Iterable[str]) -> list[float]:
    """Seconds of these norms together, in every round."""
    totals = [timings[name].totals() for name in names if name in timings]
    return [sum(parts) for parts in zip(*totals, strict=True)] if totals else [0.0] * len(timings[_STEP].rounds)
