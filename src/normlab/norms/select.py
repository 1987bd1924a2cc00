"""Choosing norms by what they do, and a norm's entry as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, get_args

from normlab.errors import InputError, nearest
from normlab.norms.catalog import NORMS
from normlab.norms.layouts import LAYOUTS
from normlab.norms.spec import Invariance, NormSpec

# functions, and axes, which ``layouts`` holds
_NOT_PLAIN = {"axes", "further_axes", "build", "refuse", "wrap", "exemptions"}


def find_norms(
    specs: Iterable[NormSpec] = NORMS,
    *,
    batch_free: bool = False,
    couples_batch: bool = False,
    stateless: bool = False,
    activates: bool | None = None,
    changes_weights: bool | None = None,
    layout: str | None = None,
    invariances: str | Iterable[str] = (),
) -> tuple[NormSpec, ...]:
    """The norms that fulfil all that is asked.

    Arguments:
        specs: the norms to choose from; the catalogue by default.
        batch_free: no output depends on other samples of the batch.
        couples_batch: outputs depend on other samples of the batch in training.
        stateless: no buffers are kept, so that evaluation needs no running statistics.
        activates: whether an activation is part of it.
        changes_weights: whether it changes the weights of the layer before.
        layout: an order of axes that it must take, in letters of any case.
        invariances: what must not change the output, such as ``"scale"`` or ``"scale, channel shift"``.

    Raises:
        InputError: there is no such layout or invariance, or no norm can do what is asked.

    >>> [spec.name for spec in find_norms(couples_batch=True) if spec.name in {"batch", "layer"}]
    ['batch']
    """
    if batch_free and couples_batch:
        rule = "a norm is free of the batch or couples it"
        raise InputError(rule, "batch_free and couples_batch", "Ask for one of the two, or leave both out.")
    texts = [invariances] if isinstance(invariances, str) else invariances
    asked = {name.strip() for text in texts for name in str(text).split(",")}
    order = str(layout).upper() if layout is not None else None
    orders = {order} if order is not None else set()
    for given, known, what in ((asked, get_args(Invariance), "invariance"), (orders, LAYOUTS, "layout")):
        for name in sorted(given - set(known)):
            raise InputError(f"{what} must be a known one", repr(name), nearest(name, known))
    return tuple(
        spec
        for spec in specs
        if not (batch_free and spec.couples_batch)
        and (spec.couples_batch or not couples_batch)
        and (spec.state == "none" or not stateless)
        and activates in (None, spec.activates)
        and changes_weights in (None, spec.wrap is not None)
        and (order is None or order in spec.axes)
        and asked <= spec.invariances
    )


def norm_entry(spec: NormSpec) -> dict[str, Any]:
    """All that a norm says of itself as plain data, in names that stay stable.

    >>> from normlab.norms.batch import BATCH
    >>> norm_entry(BATCH)["layouts"]["NCHW"]
    [['N', 'H', 'W']]
    """
    said = {field.name: getattr(spec, field.name) for field in fields(spec) if field.name not in _NOT_PLAIN}
    return {
        **{name: dict(value) if isinstance(value, Mapping) else value for name, value in said.items()},
        "layouts": {layout: [list(axes) for axes in spec.sets(layout)] for layout in spec.axes},
        "stateless": spec.state == "none",
        "changes_weights": spec.wrap is not None,
        "invariances": sorted(spec.invariances),
        "options": [
            {
                "name": option.name,
                "default": option.default,
                "meaning": option.meaning,
                "at_least": option.at_least,
                "at_most": option.at_most if option.at_most != float("inf") else None,
            }
            for option in spec.options
        ],
        "degenerate": [{"shape": shape, "reason": reason} for shape, reason in spec.degenerate],
    }
