"""The norms that do what is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from normlab.errors import InputError, nearest
from normlab.norms.catalog import NORMS
from normlab.norms.layouts import LAYOUTS
from normlab.norms.spec import Invariance, NormSpec
from normlab.reading import layout as read_layout


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
        rule = "a norm is free of the batch or couples it: `batch_free` and `couples_batch` exclude each other"
        raise InputError(rule, "both", "Ask for one of the two, or leave both out.")
    texts = [invariances] if isinstance(invariances, str) else invariances
    required = {name.strip() for text in texts for name in str(text).split(",")}
    for name in sorted(required - set(get_args(Invariance))):
        raise InputError("invariance must be a known one", repr(name), nearest(name, get_args(Invariance)))
    order = None if layout is None else read_layout(layout, LAYOUTS)
    return tuple(
        spec
        for spec in specs
        if not (batch_free and spec.couples_batch)
        and (spec.couples_batch or not couples_batch)
        and (spec.state == "none" or not stateless)
        and activates in (None, spec.activates)
        and changes_weights in (None, spec.wrap is not None)
        and (order is None or order in spec.axes)
        and required <= spec.invariances
    )
