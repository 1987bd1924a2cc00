"""The places of a user's model where norms go, and the norm that such a place takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from normlab import norms
from normlab.errors import InputError
from normlab.norms.catalog import BY_NAME
from normlab.norms.options import OptionValue
from normlab.norms.population import running_layers
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm, NormSpec
from normlab.recognition.spec import FoundNorm
from normlab.recognition.trace import trace
from normlab.surgery.carry import carry
from normlab.surgery.edits import Edits
from normlab.surgery.fast_paths import guard_fast_paths
from normlab.surgery.hooks import HOOKS
from normlab.surgery.inplace import mend_inplace
from normlab.surgery.options import norm_for
from normlab.surgery.placing import inner_slot, place, take_by_any_name
from normlab.surgery.plan import plan_swap
from normlab.surgery.references import follow
from normlab.surgery.split import own_norm
from normlab.surgery.step import Uses, tied_to
from normlab.surgery.targets import Target

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Place:
    """A norm of the model, and the slot that it leaves.

    Arguments:
        found: the norm.
        slot: its slot.
        behind: what is fused with it and stays behind the norm that takes its place.
        by_name: whether the model gives it its input by a name of its own.
    """

    found: FoundNorm
    slot: Slot
    behind: tuple[nn.Module, ...] = ()
    by_name: bool = False

    def takes(self, norm: Norm) -> tuple[Norm, tuple[str, ...]]:
        """The norm as it is here, and what was decided: as in a swap, with the layer's own eps and groups that divide.

        It is built with the gamma, beta and statistics of the layer that stands here.
        """
        inner = inner_slot(norm, self.slot)
        try:
            fit, notes = norm_for(Target(norm, norm.changed_options), self.found, inner, prod(inner.extent))
        except InputError:  # the plan says why the norm cannot stand here
            return norm, ()
        return Norm(norm.reference, self._built_here(fit, inner), fit.options), notes.all

    def has(self, norm: Norm) -> bool:
        """Whether the layer that stands here computes this norm already."""
        return bool(self.found.kind) and not self.found.activation and str(self.takes(norm)[0]) == self._text

    @cached_property
    def _text(self) -> str:
        return str(own_norm(self.found))

    def _built_here(self, fit: Norm, inner: Slot) -> NormSpec:
        """The entry of the norm, which builds the layer for this place."""

        def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
            layer = carry(self.found, place(fit, self.slot, self.found), fit, self.slot).layer
            layer = norms.NormThenActivation(layer, *deepcopy(self.behind)) if self.behind else layer
            if self.by_name:
                take_by_any_name(layer)
            return layer

        if inner == self.slot:
            return replace(fit.spec, build=build)
        axes = {**fit.spec.axes, self.slot.layout: _with_positions(fit.spec.axes.get(inner.layout, ()))}
        refuse = fit.spec.refuse
        return replace(fit.spec, build=build, axes=axes, refuse=lambda slot, options: refuse(inner, options))


def _with_positions(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Axes of statistics over samples, where each position is a sample of its own."""
    return ("N", "L", *axes[1:]) if axes[:1] == ("N",) else axes


def find_places(
    model: nn.Module, inputs: Any, where: Any = None, wrap: Callable[[nn.Module], nn.Module] | None = None
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """The places of a model's norms, and what must be known of them: why other norms stay, what is lost with some.

    Arguments:
        model: the model.
        inputs: what it is called with, or what it is in after ``wrap``.
        where: which norms are meant, as for `normlab.swap`.
        wrap: makes of the model what calls it with the inputs; its parts keep their names.

    Raises:
        InputError: the model does not take the inputs, or a selector means no norm.
    """
    uses = trace(model if wrap is None else wrap(model), inputs)
    plan = plan_swap(model, "none", where=where, uses=uses)
    parts = dict(model.named_modules())
    slots = ((step, _with_own_parts(step.slot, uses, parts)) for step in plan.replacing if step.slot is not None)
    places = tuple(Place(step.found, slot, step.behind, bool(step.keywords)) for step, slot in slots)
    left = (step for step in plan.steps if step.action != "replace")
    stays = [f"{step.found.name} stays as it is: {step.reason}" for step in left]
    return places, (*stays, *_remarks(place.found for place in places))


def _remarks(replaced: Iterable[FoundNorm]) -> Iterator[str]:
    """In what a norm of the model differs from all that take its place, beside what it computes."""
    for norm in replaced:
        if any(vars(norm.module).get(name) for name in HOOKS):
            yield f"{norm.name} has hooks, which the model's own norm alone keeps"
        couples = BY_NAME[norm.kind].couples_batch and not norm.frozen
        if couples and norm.running and not running_layers(norm.module):
            why = "as its class is neither torch's nor normlab's; other norms of the batch by exact ones"
            yield f"{norm.name} is evaluated by its own running statistics, {why}"


def _with_own_parts(slot: Slot, uses: Uses, parts: Mapping[str, nn.Module]) -> Slot:
    """The slot without an activation that stands elsewhere too, and a layer whose weights another part has.

    What a norm makes of them would reach these other places.
    """
    activation = "" if len(uses.get(slot.activation, ())) > 1 else slot.activation
    return replace(slot, activation=activation, layer="" if tied_to(parts, slot.layer) else slot.layer)


def fill(model: nn.Module, places: Sequence[Place], make_norm: Callable[[Slot], nn.Module]) -> nn.Module:
    """The new model with a norm in every place; it is changed, and is another only where it is a norm itself.

    Where nothing is left of a norm, an activation in place would write into what other paths read too.
    """
    layers = {name: layer for each in places for layer in (make_norm(each.slot),) for name in each.found.names}
    edits = Edits(model)
    edits.put_all(layers)
    follow(edits)
    guard_fast_paths(edits.model)
    behind = {each.found.name: each.slot.activation for each in places if each.slot.activation}
    mend_inplace(edits.model, [each.found.name for each in places], behind)
    return edits.model
