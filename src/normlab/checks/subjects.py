"""Who is checked: the norm behind a text, in every layout and with channels on which it does something."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import isclass, isfunction
from typing import Any

import torch
from torch import nn

from normlab.checks.subject import SIZES, Subject, draws, restless, run, told
from normlab.errors import InputError, nearest
from normlab.norms.catalog import NORMS, parse
from normlab.norms.layouts import LAYOUTS
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm, NormSpec, unclaimed, with_options
from normlab.reading import imported, split_options
from normlab.reading import layout as read_layout

CHANNELS = (6, 8, 12, 16, 32, 64, 128, 256)  # the first that the norm takes and that leaves it something to say
MORE_CHANNELS = (15, 20, 48, 96, 192, 320)  # a second number: odd where the norm takes that, and no power of 2
FELT = 1e-5  # the mean change of the output, as a share of its mean size, when the input changes by about 1e-3

_RULE = "norm must name a NormSpec, a module's class or a function of the channels that makes a module"
_ADVICE = "Wrap it in a normlab.NormSpec, whose build makes the module for a slot."


def subjects(reference: str | NormSpec, layout: str | None = None, channels: int | None = None) -> tuple[Subject, ...]:
    """The norm behind a text in every layout in which it does something.

    Arguments:
        reference: a spec, a norm's text, or ``package.module:object`` of a NormSpec, a module's class, or a function
            of the number of channels that makes a module.
        layout: the only layout to take, in letters of any case; all by default.
        channels: the only number of channels; by default two that the norm takes, and of norms that change weights
            the second on one layout alone, for the convolutions before them are slow.

    Raises:
        InputError: there is no such norm, its entry says what cannot be meant, or it can be built for no layout.
    """
    layouts = LAYOUTS if layout is None else (read_layout(layout, LAYOUTS),)
    if channels is not None and (type(channels) is not int or channels < 1):
        rule = "channels must be a whole number of at least 1"
        raise InputError(rule, repr(channels), "Give the number of channels.")
    if isinstance(reference, NormSpec):
        return _entered(with_options(reference.name, reference, "", reference.name), layouts, channels)
    if not isinstance(reference, str):
        raise InputError(_RULE, repr(reference), "Give its text, as 'package.module:object', or a normlab.NormSpec.")
    name, options = split_options(reference, (spec.name for spec in NORMS))
    if ":" in name:
        value = _imported(name)
        if not isinstance(value, NormSpec):
            if options:
                advice = f"Leave {options!r} out, or give it a normlab.NormSpec with options."
                raise InputError("a norm without a NormSpec takes no options", repr(reference), advice)
            return _bare(name, value, layouts, channels)
    return _entered(parse(reference), layouts, channels)


def _imported(reference: str) -> object:
    """The object behind ``package.module:object``, whatever it is; where there is none the hint names norms alone."""
    name, _, attribute = reference.partition(":")
    try:
        return imported(reference, "norm", object)
    except InputError as error:
        module = sys.modules.get(name)
        if module is None or attribute in vars(module):
            raise
        norms = [key for key, value in vars(module).items() if _may_be_norm(value, name) and key[0] != "_"]
        advice = nearest(attribute, norms) if norms else f"{name} holds nothing that could be a norm."
        raise InputError(error.rule, repr(reference), advice) from None


def _may_be_norm(value: object, module: str) -> bool:
    """Whether it is a NormSpec, or a module's class or a function that ``module`` itself defines."""
    makes = isfunction(value) or (isclass(value) and issubclass(value, nn.Module))
    return isinstance(value, NormSpec) or (makes and value.__module__ == module)


def _entered(norm: Norm, layouts: Sequence[Layout], channels: int | None) -> tuple[Subject, ...]:
    """A norm with an entry, in every layout on which it can be built and does something."""
    slots: list[Slot] = []
    reason = ""
    for layout in norm.spec.axes:
        if layout in layouts:
            usable, refused = _slots(norm, layout, channels)
            slots += usable if norm.spec.wrap is None or not slots else usable[:1]
            reason = reason or refused
    if not slots:
        takes = f"{norm}, which takes {', '.join(norm.spec.axes) or 'none'}{f' ({reason})' if reason else ''}"
        if channels is None and len(layouts) == len(LAYOUTS):
            rule = "a norm must have a layout on which it can be built and does something"
            raise InputError(rule, takes, "Check axes and refuse.")
        where: str = layouts[0] if len(layouts) == 1 else "some layout"
        where += f" with {channels} channels" if channels is not None else ""
        raise InputError(f"the norm must do something on {where}", takes, "Choose others, or leave them out.")
    return tuple(_running(Subject(norm, slot)) for slot in slots)


def _slots(norm: Norm, layout: Layout, channels: int | None) -> tuple[list[Slot], str]:
    """Slots with so many channels that every statistic has some elements and every group two channels, or why not."""
    extent = tuple(SIZES[axis] for axis in layout if axis not in "NC")
    groups = norm.parts.get("G", 1)
    grouped = any("C/G" in axes for axes in norm.spec.sets(layout))
    first_reason = ""
    usable: list[Slot] = []
    for counts, fewest in (
        ((*CHANNELS, 2 * groups, 4 * groups), 2 * groups),
        ((*MORE_CHANNELS, 6 * groups), 4 * groups),
    ):
        for count in counts if channels is None else (channels,):
            slot = Slot(count, layout, extent, "layer", "activation")
            reasons = (remark(slot, SIZES["N"]) for remark in (norm.emptiness, norm.caution))
            if reason := _refusal(norm, slot) or next(filter(None, reasons), None):
                first_reason = first_reason or reason
            elif slot not in usable and (channels is not None or not grouped or count >= fewest):
                usable.append(slot)
                break
    return usable, first_reason


def _refusal(norm: Norm, slot: Slot) -> str | None:
    """Why the norm cannot be trained in the slot, or None."""
    try:
        return norm.refusal(slot, SIZES["N"])
    except (Exception, SystemExit) as error:
        raise InputError(f"refuse of {norm} must give a reason or None", told(error), "Mend refuse.") from error


def _tried(subject: Subject) -> Subject:
    """The subject after a first forward pass, with what is known then of the random numbers that it draws."""
    make, inputs = subject.model, subject.inputs()
    return replace(subject, draws=draws(make, inputs), restless=restless(make, inputs))


def _running(subject: Subject) -> Subject:
    """A norm with an entry after a first forward pass.

    Raises:
        InputError: it cannot be built, or does not run.
    """
    layout = subject.layout
    try:
        return _tried(subject)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        where = f"{layout} with {subject.slot.channels} channels"
        rule = f"{subject.norm} must build a layer that runs on {where}, as its axes say"
        raise InputError(rule, told(error), f"Mend build or forward, or leave {layout} out of axes.") from error


def _bare(reference: str, make: object, layouts: Sequence[Layout], channels: int | None) -> tuple[Subject, ...]:
    """A module's class or a function that makes one, in every layout that it takes; it claims nothing."""
    if not callable(make) or isinstance(make, nn.Module) or (isclass(make) and not issubclass(make, nn.Module)):
        raise InputError(_RULE, f"{reference!r}, {_kind(make)}", _ADVICE)
    usable: list[Subject] = []
    reasons: dict[str, list[Layout]] = {}
    for layout in layouts:
        subject, reason = _first(reference, make, layout, CHANNELS if channels is None else (channels,))
        if subject is None:
            reasons.setdefault(reason, []).append(layout)
            continue
        usable.append(subject)
        if channels is None and (second := _first(reference, make, layout, MORE_CHANNELS)[0]):
            usable.append(second)
    if not usable:
        why = "; ".join(f"{', '.join(where)}: {reason}" for reason, where in list(reasons.items())[:2])
        what = "takes no layout" if len(layouts) > 1 else "does not run"
        raise InputError(_RULE, f"{reference!r}, which {what} ({why})", _ADVICE)
    return tuple(usable)


def _first(
    reference: str, make: Callable[..., Any], layout: Layout, channels: Sequence[int]
) -> tuple[Subject | None, str]:
    """It with the first number of channels on which it runs and feels its input, else runs; or why it does not."""
    extent = tuple(SIZES[axis] for axis in layout if axis not in "NC")
    norm = Norm(reference, unclaimed(reference, make, (layout,)))
    dull, reason = None, ""
    for count in channels:
        try:
            subject = _tried(Subject(norm, Slot(count, layout, extent), claimed=False))
            if _feels(subject):
                return subject, ""
            dull = dull or subject
        except (Exception, SystemExit) as error:
            reason = reason or told(error)
    return dull, reason


def _feels(subject: Subject) -> bool:
    """Whether a small change of the input changes the output by more than what eps leaves of one or two elements."""
    inputs = subject.inputs()
    with torch.no_grad():
        before = run(subject.layer(), inputs)
        after = run(subject.layer(), inputs + 3e-4 * subject.inputs(1))
    return bool((after - before).abs().mean() > FELT * before.abs().mean().clamp_min(1e-6))


def _kind(value: object) -> str:
    if value is None:
        return "which is None"
    return f"the class {value.__name__}" if isclass(value) else f"an object of type {type(value).__name__}"
