"""A plan of a swap: every norm of a model, what becomes of it, and why; nothing is changed by making it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from normlab.errors import InputError, ListedError
from normlab.norms.assignment import ParseNorm, parse_assignment
from normlab.norms.spec import Norm
from normlab.recognition.find import found_norms
from normlab.recognition.spec import FoundNorm
from normlab.surgery.placing import Positions
from normlab.surgery.selectors import EVERY, Selector, Selectors, meant, selected
from normlab.surgery.step import Planner, Step, Uses, activates
from normlab.surgery.targets import Target, target_of

if TYPE_CHECKING:
    from torch import nn

NAMES_IN_A_LINE = 150  # characters of names before a reason that several layers share
_NOT_NORMS = ("", "none", "bias")


@dataclass(frozen=True)
class SwapPlan:
    """What becomes of every norm of a model.

    Arguments:
        steps: one for each norm, in the order of the model.
    """

    steps: tuple[Step, ...]

    @property
    def replacing(self) -> tuple[Step, ...]:
        """The steps that replace a layer."""
        return tuple(step for step in self.steps if step.action == "replace")


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
        InputError: a selector or norm is unknown, or a selector means no norm; or a norm cannot stand where it shall,
            for reasons that are all listed.
    """
    if positions not in ("apart", "together"):
        raise InputError("`positions` must be 'apart' or 'together'", repr(positions), "Leave it out for 'apart'.")
    norms = found_norms(model, meant(where, to if isinstance(to, Mapping) else ()))
    targets = Selectors(_targets(to), model)
    chosen = None if where is None else Selectors(selected(where), model)
    for selectors in (targets, chosen):
        if selectors is not None:
            selectors.require_used(norms)
    planner = Planner(model, uses or {}, strict, positions)
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
    return SwapPlan(tuple(steps))


def _targets(to: Any) -> dict[Any, Target]:
    """What was asked for, as a mapping from selectors; a text may name roles too: ``rms,query-key=layer``."""
    if isinstance(to, Mapping):
        return {selector: target_of(target) for selector, target in to.items()}
    if not isinstance(to, str):
        return {EVERY: target_of(to)}
    assignment = parse_assignment(to, cast("ParseNorm", target_of))
    named: dict[Any, Any] = {f"role:{role}": norm for role, norm in assignment.roles}
    if assignment.default is not None:
        named[EVERY] = assignment.default
    return named


def _step(found: FoundNorm, targets: Selectors[Target], chosen: Selectors[bool] | None, planner: Planner) -> Step:
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
        return Step(found, "leave", "no selector says what it becomes")
    selector, target = match
    if target.norm is None:
        return Step(found, "keep", "asked to stay the same")
    named = _is_exact(selector, found) or (picked is not None and _is_exact(picked[0], found))
    obstacle = found.obstacle or _lost_activation(found, target.norm)
    if not found.kind and not obstacle:
        obstacle = "it cannot be told what it computes"
    if obstacle:
        if named:
            raise InputError(
                "a layer that is named, itself or by its class, must be one that can be replaced",
                obstacle,
                "Leave it out.",
            )
        return Step(found, "leave", obstacle)
    if found.kind in _NOT_NORMS and chosen is None and selector.text == EVERY:
        return Step(found, "leave", "it normalizes nothing")
    return planner.step(found, target)


def _lost_activation(found: FoundNorm, norm: Norm) -> str:
    """What speaks against a norm in the place of one that is an activation as well."""
    if not activates(found) or norm.spec.activates:
        return ""
    return "an activation is part of it, which the model would lose"


def _is_exact(selector: Selector, found: FoundNorm) -> bool:
    """Whether a selector means this very layer: by its full name, or by a class that is none of torch's."""
    return selector.own or (selector.text in found.names and not selector.text.startswith(("re:", "role:", "kind:")))
