"""A norm with the options that it gets in the place of a layer: those asked for, and those of the layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from normlab.errors import InputError
from normlab.norms.options import Option, OptionValue, value_text
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.recognition.spec import FoundNorm
from normlab.surgery.groups import choose_groups
from normlab.surgery.targets import Target

_LENGTHS = ("scale", "unit", "spectral")  # whose eps is a least length, not part of a variance
_OWN_MEANING = ("track_running_stats", "share", "size", "steps")  # options that mean the same only in the same norm
_PER_BATCH = ("batch-group",)  # whose groups share statistics over the batch: there is never one element in them


@dataclass(frozen=True)
class Notes:
    """What was decided about options.

    Arguments:
        groups: why the number of groups is not the one asked for; empty where it is.
        others: what else was decided.
    """

    groups: str = ""
    others: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every note."""
        return ((self.groups,) if self.groups else ()) + self.others


def norm_for(target: Target, found: FoundNorm, slot: Slot, positions: int | None) -> tuple[Norm, Notes]:
    """The norm for one place: options that nobody asked for are those of the layer that stands there.

    Arguments:
        target: what was asked for.
        found: the layer that stands there.
        slot: the place, as the norm itself sees it.
        positions: the number of positions of a sample; None where it is not known.

    Raises:
        InputError: no number of groups leaves two elements in a group.
    """
    assert target.norm is not None
    norm, others = _carried(target, target.norm, found)
    if "groups" not in norm.options:
        return norm, Notes(others=others)
    wish = int(norm.options["groups"])
    choice = choose_groups(wish, slot.channels, 2 if norm.spec.name in _PER_BATCH else positions)
    if not choice.groups:
        raise InputError("there must be two elements in a group", choice.note, "Leave the layer out by `where`.")
    return Norm(norm.reference, norm.spec, {**norm.options, "groups": choice.groups}), Notes(choice.note, others)


def _carried(target: Target, norm: Norm, found: FoundNorm) -> tuple[Norm, tuple[str, ...]]:
    options: dict[str, OptionValue] = dict(norm.options)
    notes = []
    own = _of_layer(found, norm)
    for option in norm.spec.options:
        if option.name in target.stated or option.name not in own:
            continue
        before, now = value_text(own[option.name]), value_text(option.default)
        if not _allows(option, own[option.name]):
            notes.append(f"{option.name} {now}, as {norm.spec.name} does not take the layer's {before}")
        elif option.name == "eps" and found.frozen and not own["eps"]:  # a constant input would be divided by 0
            notes.append(f"eps {now}, as the layer's {before} is for statistics that stay as they are")
        else:
            options[option.name] = own[option.name]
    return Norm(norm.reference, norm.spec, options), tuple(notes)


def _of_layer(found: FoundNorm, norm: Norm) -> Mapping[str, OptionValue]:
    """The options of a layer that mean the same in another norm."""
    is_same = found.kind == norm.spec.name
    own = {
        name: value
        for name, value in found.options.items()
        if value is not None and (is_same or name not in _OWN_MEANING)
    }
    if not is_same:
        if {found.kind, norm.spec.name} & set(_LENGTHS):
            own.pop("eps", None)
        if "rms" in (found.kind, norm.spec.name) and own.get("eps") == 0:
            own.pop("eps")  # RMSNorm's 0 stands for the machine epsilon
    own["affine"] = bool(found.affine.weight or found.affine.bias)
    if found.affine.weight or found.affine.bias:
        own["bias"] = bool(found.affine.bias) or found.kind == "rms"
    return own


def _allows(option: Option, value: OptionValue) -> bool:
    try:
        option.parse(value_text(value), value_text(value))
    except InputError:
        return False
    return True
