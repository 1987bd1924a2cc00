"""A plan of a swap: every norm of a model, what becomes of it, and why; nothing is changed by making it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal, cast

from normlab.errors import InputError, ListedError
from normlab.norms.assignment import ParseNorm, parse_assignment
from normlab.norms.layouts import SPATIAL
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.recognition.find import found_norms
from normlab.recognition.spec import FoundNorm, Use
from normlab.surgery.options import norm_for
from normlab.surgery.placing import Positions, inner_slot, is_certain, slot_of
from normlab.surgery.rules import EVERY, KINDS, Rule, Rules, meant, selected
from normlab.surgery.split import own_norm, split
from normlab.surgery.targets import Target, target_of

if TYPE_CHECKING:
    from torch import nn

Action = Literal["replace", "keep", "leave"]
Uses = Mapping[str, tuple[Use, ...]]
NAMES_IN_A_LINE = 150  # characters of names before a reason that several layers share
_NOT_NORMS = ("", "none", "bias")


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
    """

    found: FoundNorm
    action: Action
    reason: str = ""
    norm: Norm | None = None
    slot: Slot | None = None
    behind: tuple[nn.Module, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SwapPlan:
    """What becomes of every norm of a model.

    Arguments:
        steps: one for each norm, in the order of the model.
        positions: what positions are to norms that have no form for features last.
    """

    steps: tuple[Step, ...]
    positions: Positions = "apart"

    @property
    def replacing(self) -> tuple[Step, ...]:
        """The steps that replace a layer."""
        return tuple(step for step in self.steps if step.action == "replace")

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The places whose norms are replaced."""
        return tuple(step.slot for step in self.replacing if step.slot is not None)


def plan_swap(
    model: nn.Module,
    to: Any,
    *,
    where: Any = None,
    uses: Uses | None = None,
    strict: bool = False,
    positions: Positions = "apart",
) -> SwapPlan:
    """Decides what becomes of each norm, without changing anything.

    Arguments:
        model: the model.
        to, where, strict, positions: as for `normlab.swap`.
        uses: the calls of the parts of the model in a forward pass, where there was one.

    Raises:
        InputError: a rule or norm is unknown, or a rule means no norm; or a norm cannot stand where it shall, for
            reasons that are all listed.
    """
    if positions not in ("apart", "together"):
        raise InputError("`positions` must be 'apart' or 'together'", repr(positions), "Leave it out for 'apart'.")
    norms = found_norms(model, meant(where, to if isinstance(to, Mapping) else ()))
    targets = Rules(_targets(to), model)
    chosen = None if where is None else Rules(selected(where), model)
    for rules in (targets, chosen):
        if rules is not None:
            rules.require_used(norms)
    planner = _Planner(model, uses or {}, strict, positions)
    steps = []
    problems: dict[str, list[str]] = {}
    for found in norms:
        try:
            steps.append(_step(found, targets, chosen, planner))
        except InputError as error:
            problems.setdefault(str(error), []).append(found.name or "the model itself")
    if problems:
        rule = "every norm that is swapped must have a place for what it becomes, and nothing was changed"
        advice = "Leave layers out, such as `where=not:head.norm`, or ask for another norm:"
        count = sum(map(len, problems.values()))
        lines = [
            f"{names.rstrip(',')}: {reason}"
            for reason, places in problems.items()
            for names in textwrap.wrap(", ".join(places), NAMES_IN_A_LINE)
        ]
        raise ListedError(rule, f"{count} that have none", advice, lines)
    return SwapPlan(tuple(steps), positions)


def _targets(to: Any) -> dict[Any, Target]:
    """What was asked for, as a mapping from rules; a text may name roles too: ``rms,query-key=layer``."""
    if isinstance(to, Mapping):
        return {rule: target_of(target) for rule, target in to.items()}
    if not isinstance(to, str):
        return {EVERY: target_of(to)}
    assignment = parse_assignment(to, cast("ParseNorm", target_of))
    named: dict[Any, Any] = {f"role:{role}": norm for role, norm in assignment.roles}
    if assignment.default is not None:
        named[EVERY] = assignment.default
    return named


def _step(found: FoundNorm, targets: Rules, chosen: Rules | None, planner: _Planner) -> Step:
    """What becomes of a norm.

    Raises:
        InputError: it cannot become what was asked for.
    """
    picked = chosen.match(found) if chosen is not None else None
    if chosen is not None and (picked is None or not picked[1]):
        return Step(
            found, "leave", "not among those asked for" if picked is None else f"left out by {picked[0].text!r}"
        )
    match = targets.match(found)
    if match is None:
        return Step(found, "leave", "no rule says what it becomes")
    target: Target = match[1]
    if target.norm is None:
        return Step(found, "keep", "asked to stay the same")
    rule = picked[0] if picked is not None else match[0]
    named = _is_exact(rule, found) or _is_exact(match[0], found)
    obstacle = found.obstacle or _lost_activation(found, target.norm)
    if not found.kind and not obstacle:
        obstacle = "it cannot be told what it computes"
    if obstacle:
        if named:
            raise InputError("a layer that is named must be one that can be replaced", obstacle, "Leave it out.")
        return Step(found, "leave", obstacle)
    if found.kind in _NOT_NORMS and chosen is None and match[0].text == EVERY:
        return Step(found, "leave", "it normalizes nothing")
    return planner.step(found, target)


def _lost_activation(found: FoundNorm, norm: Norm) -> str:
    """What speaks against a norm in the place of one that is an activation as well."""
    if not _activates(found) or norm.spec.activates:
        return ""
    return "an activation is part of it, which the model would lose"


def _activates(found: FoundNorm) -> bool:
    return found.kind in KINDS and KINDS[found.kind].activates


def _is_exact(rule: Rule, found: FoundNorm) -> bool:
    return rule.text in found.names and not rule.text.startswith(("re:", "role:", "kind:"))


class _Planner:
    """Finds the norm and the slot for a layer that is to be replaced.

    Arguments:
        model: the model.
        uses: the calls of its parts.
        strict: whether a number of groups must be the one asked for.
        positions: what positions are to norms without a form for features last.
    """

    def __init__(self, model: nn.Module, uses: Uses, strict: bool, positions: Positions) -> None:
        self.model, self.uses, self.strict, self.positions = model, uses, strict, positions
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
        coupled = found.kind in KINDS and KINDS[found.kind].couples_batch
        more += self._checked(norm, inner, uses, bool(found.activation) or _activates(found), coupled)
        if behind:
            more.append(f"{', '.join(type(part).__name__ for part in behind)} taken out of it and put behind it")
        return Step(found, "replace", "", norm, slot, behind, tuple(more))

    def _slot(self, found: FoundNorm, uses: tuple[Use, ...]) -> Slot:
        """The slot; to it belong an activation that nothing else uses, and a layer before that has a matrix."""
        slot = slot_of(found, uses)
        if slot.layer and not _has_matrix(self.parts[slot.layer]):
            slot = replace(slot, layer="")
        if slot.activation and (_activates(found) or not _is_activation(self.parts[slot.activation])):
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
        if norm.spec.activates and slot.activation and not fused:
            self._require_alone(slot.activation)
        if caution := norm.caution(slot, max(batch, 2)) if uses else None:
            yield caution

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
    if found.kind not in KINDS or found.frozen or norm.spec is not KINDS[found.kind]:
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


def _has_matrix(module: nn.Module) -> bool:
    """Whether a layer has weights that a norm of weights can work on."""
    import torch

    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.dim() > 1


def _is_activation(module: nn.Module) -> bool:
    from torch import nn
    from torch.nn.modules import activation

    kinds = tuple(vars(activation)[name] for name in activation.__all__)
    return isinstance(module, kinds) and not isinstance(module, nn.MultiheadAttention)
