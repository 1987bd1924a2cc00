"""All rules of the doctor, in the order of their codes.

Each file of rules ends in its own ``RULES``, which stands here once.
"""

from __future__ import annotations

from normlab.diagnosis.rules import (
    affine,
    axes,
    batches,
    composition,
    conventions,
    copies,
    exports,
    fast_paths,
    live,
    modes,
    names,
    optimizers,
    parallel,
    precision,
    sizes,
    stored,
    updates,
    waste,
)
from normlab.diagnosis.spec import Rule

_FILES = (
    sizes,
    axes,
    waste,
    conventions,
    names,
    batches,
    composition,
    modes,
    updates,
    precision,
    optimizers,
    stored,
    affine,
    fast_paths,
    parallel,
    exports,
    copies,
)
RULES: tuple[Rule, ...] = tuple(sorted((rule for file in _FILES for rule in file.RULES), key=lambda rule: rule.code))
LIVE: tuple[Rule, ...] = live.RULES  # of `normlab.watch`: a model at rest does not show them
BY_CODE = {rule.code: rule for rule in (*RULES, *LIVE)}
