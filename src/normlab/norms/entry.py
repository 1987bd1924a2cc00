"""A norm's entry as plain data, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from normlab.norms.spec import NormSpec

# functions, and axes, which ``layouts`` holds
_NOT_PLAIN = {"axes", "further_axes", "build", "refuse", "wrap", "exemptions"}


def norm_entry(spec: NormSpec) -> dict[str, Any]:
    """All that a norm says of itself as plain data, in names that stay stable.

    >>> from normlab.norms.batch import BATCH
    >>> norm_entry(BATCH)["layouts"]["NCHW"]
    [['N', 'H', 'W']]
    """
    values = {field.name: getattr(spec, field.name) for field in fields(spec) if field.name not in _NOT_PLAIN}
    return {
        **{name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()},
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
