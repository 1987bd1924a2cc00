"""What becomes of one norm in a swap: the norm that takes its place, the slot, and whether that can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Literal

from normlab.errors import InputError
from normlab.norms.catalog import BY_NAME
from normlab.norms.layouts import SPATIAL
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.recognition.spec import FoundNorm, Use
from normlab.surgery.options import norm_for
from normlab.surgery.placing import Positions, inner_slot, is_certain, slot_of
from normlab.surgery.split import own_norm, split
from normlab.surgery.targets import Target

if TYPE_CHECKING:
    from torch import nn

Action = Literal["replace", "keep", "leave"]
Uses = Mapping[str, tuple[Use, ...]]


@dataclass(frozen=True)
class Step:
    """What becomes of one norm.

    Arguments:
        found: the norm.
        action: whether it is replaced, kept because that was asked for or it is the norm asked for already, or left
            alone.
        reason: why it is kept or left alone; empty where it is replaced.
        norm: what takes its place, with the options that it gets in this place; None where nothing does.
        slot: the place that it stands in; None where it is not replaced.
        behind: what was fused with the norm and goes behind the new one.
        notes: what else was decided.
        keywords: the names, beside torch's ``input``, by which the model gives the layer its input.
    """

    found: FoundNorm
    action: Action
    reason: str = ""
    norm: Norm | None = None
    slot: Slot | None = None
    behind: tuple[nn.Module, ...] = ()
    notes: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


class Planner:
    """Finds the norm and the slot for a layer that is to be replaced.

    Arguments:
        model: the model.
        uses: the calls of its parts.
        strict: whether a number of groups must be the one asked for.
        positions: what positions are to norms without a form for features last.
    """

    def __init__(self, model: nn.Module, uses: Uses, strict: bool, positions: Positions) -> None:
        self.uses, self.strict, self.positions = uses, strict, positions
        self.parts = dict(model.named_modules())

    def step(self, found: FoundNorm, target: Target) -> Step:
        """The step that replaces a layer, or keeps it where it is the norm asked for already."""
        assert target.norm is not None
        uses = self.uses.get(found.name, ())
        slot = self._slot(found, uses)
        inner = inner_slot(target.norm, slot, self.positions)
        positions = _positions(inner, uses)
        norm, notes = norm_for(target, found, inner, positions)
        if self.strict and notes.groups:
            raise InputError("the number of groups must fit", notes.groups, "Leave `strict` out to have it chosen.")
        if _is_already(found, norm):
            return Step(found, "keep", f"it is {norm} already", notes=notes.all)
        more = [*notes.all, *self._layout_notes(found, norm, slot, inner, uses)]
        behind = () if not found.activation or norm.spec.activates else split(found, slot)
        coupled = found.kind in BY_NAME and BY_NAME[found.kind].couples_batch
        more += self._checked(norm, inner, uses, bool(found.activation) or activates(found), coupled)
        if behind:
            more.append(f"{', '.join(type(part).__name__ for part in behind)} taken out of it and put behind it")
        keywords = tuple(dict.fromkeys(use.keyword for use in uses if use.keyword not in ("", "input")))
        if keywords:
            more.append(f"takes its input as {' and '.join(keywords)} too, as the model gives it")
        return Step(found, "replace", "", norm, slot, behind, tuple(more), keywords)

    def _slot(self, found: FoundNorm, uses: tuple[Use, ...]) -> Slot:
        """The slot; to it belong an activation that nothing else uses, and a layer before that has a matrix."""
        slot = slot_of(found, uses)
        if found.order == "all" and slot.layer and _has_features_last(self.parts[slot.layer]):
            rule = "a LayerNorm over positions and channels must have the channels first"
            given = f"{found.name!r} behind {slot.layer!r}, whose features are on the last axis"
            raise InputError(rule, given, "Leave the layer out by `where`.")
        if slot.layer and not _has_matrix(self.parts[slot.layer]):
            slot = replace(slot, layer="")
        if slot.activation and (activates(found) or not _is_activation(self.parts[slot.activation])):
            slot = replace(slot, activation="")
        return slot

    def _layout_notes(
        self, found: FoundNorm, norm: Norm, slot: Slot, inner: Slot, uses: tuple[Use, ...]
    ) -> Iterable[str]:
        if inner != slot:
            apart = inner.layout == "NC" or norm.spec.axes["NCL"] == ("C",)
            yield "each position by itself" if apart else "over the positions of a sample"
        if is_certain(found, uses) or _is_same_everywhere(norm, slot):
            return
        if not _takes_no_positions(found):
            rule = "the number of axes of a layer's input must be known"
            raise InputError(rule, repr(found.name), "Give `example_inputs`: a forward pass tells.")
        yield "taken to have input N,C, as no example input says otherwise"

    def _checked(self, norm: Norm, inner: Slot, uses: tuple[Use, ...], fused: bool, coupled: bool) -> Iterable[str]:
        """What a reader must know of the norm in its slot.

        Arguments:
            norm: the norm.
            inner: the slot as it sees it.
            uses: the calls of the layer that stands there.
            fused: whether an activation is part of that layer.
            coupled: whether that layer cannot train on a single sample either.

        Raises:
            InputError: it has no form for it, or nothing is left of the input behind it.
        """
        if reason := norm.misfit(inner):
            advice = "Ask for another norm, or leave it out by `where`."
            raise InputError("a norm must have a form for its place", reason, advice)
        spatial = SPATIAL.get(inner.layout, ("L",))
        known = inner.extent if len(inner.extent) == len(spatial) else (2,) * len(spatial)
        slot = replace(inner, extent=known, activation="fused" if fused else inner.activation)
        batch = _samples(inner, uses)
        if batch == 1 and not coupled and (reason := norm.refusal(slot, 1)):
            advice = "Give `example_inputs` of two samples or more, or leave it out by `where`."
            raise InputError("a norm must be able to work in its place", reason, advice)
        for reason in (norm.refusal(slot, max(batch, 2)), norm.emptiness(slot, max(batch, 2))):
            if reason:
                raise InputError("a norm must be able to work in its place", reason, _advice(norm, uses))
        if norm.spec.wrap is not None:
            self._require_untied(slot.layer)
        if norm.spec.activates and slot.activation and not fused:
            self._require_alone(slot.activation)
        if caution := norm.caution(slot, max(batch, 2)) if uses else None:
            yield caution

    def _require_untied(self, layer: str) -> None:
        if tied := tied_to(self.parts, layer):
            rule = "a norm of weights must be put on a layer whose weights no other part has"
            raise InputError(rule, f"{layer!r}, tied to {', '.join(map(repr, tied))}", "Leave it out by `where`.")

    def _require_alone(self, activation: str) -> None:
        if len(self.uses.get(activation, ())) > 1:
            rule = "an activation that gives way to that of a norm must be used in one place"
            raise InputError(rule, f"{activation!r}, which is called several times", "Leave the layer out by `where`.")


def _advice(norm: Norm, uses: tuple[Use, ...]) -> str:
    needs = (norm.spec.wrap is not None or norm.spec.activates) and not uses
    return "Give `example_inputs`: a forward pass tells." if needs else "Leave it out by `where`."


def _positions(inner: Slot, uses: tuple[Use, ...]) -> int | None:
    """The least number of positions of a sample; None where it is not known."""
    if inner.layout == "NC":
        return 1
    space = slice(1, -1) if inner.layout == "NLC" else slice(2, None)
    known = prod(inner.extent) if inner.extent else None
    return min((prod(use.shape[space]) for use in uses), default=known)


def _samples(inner: Slot, uses: tuple[Use, ...]) -> int:
    """The least number of samples of a call, positions counted where they are samples; 2 where it is not known."""
    samples = slice(0, -1) if inner.layout == "NC" else slice(0, 1)
    return min((prod(use.shape[samples]) for use in uses), default=2)


def _is_already(found: FoundNorm, norm: Norm) -> bool:
    """Whether a layer computes just what is asked for."""
    if found.kind not in BY_NAME or found.frozen or norm.spec is not BY_NAME[found.kind]:
        return False
    return dict(own_norm(found).options) == dict(norm.options)


def _is_same_everywhere(norm: Norm, slot: Slot) -> bool:
    """Whether a norm is built in the same way however many axes its channels-first input has."""
    built = set()
    for layout in SPATIAL:
        other = replace(slot, layout=layout, extent=())
        if norm.misfit(other):
            return False
        layer = norm.build(other)
        plain = [(name, value) for name, value in vars(layer).items() if isinstance(value, bool | int | float | str)]
        shapes = [(name, tuple(tensor.shape)) for name, tensor in layer.state_dict().items()]
        built.add((type(layer), repr(layer), repr((plain, shapes))))
    return len(built) == 1


def _takes_no_positions(found: FoundNorm) -> bool:
    """Whether it is a layer of N,C or N,C,L input, which far more often has no positions."""
    return any(kind.__name__.endswith("1d") for kind in type(found.module).__mro__)


def tied_to(parts: Mapping[str, nn.Module], layer: str) -> list[str]:
    """The names of the other parts of a model that have the weight of a layer, too; a norm of it would tear them apart.

    Arguments:
        parts: those of the model, by their first names.
        layer: the name of the layer; empty for none.
    """
    weight = parts[layer]._parameters.get("weight") if layer else None
    if weight is None:
        return []
    return [name for name, part in parts.items() if name != layer and weight in set(part._parameters.values())]


def _has_matrix(module: nn.Module) -> bool:
    """Whether a layer has weights that a norm of weights can work on."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() > 1


def _has_features_last(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear | nn.Embedding)


def _is_activation(module: nn.Module) -> bool:
    from torch import nn
    from torch.nn.modules import activation

    kinds = tuple(vars(activation)[name] for name in activation.__all__)
    return isinstance(module, kinds) and not isinstance(module, nn.MultiheadAttention)


def activates(found: FoundNorm) -> bool:
    """Whether a norm in a model is an activation as well."""
    return found.kind in BY_NAME and BY_NAME[found.kind].activates
