"""All rules of the doctor, in the order of their codes.

Each file of rules ends in its own ``RULES``, which stands here once.
"""

from __future__ import annotations

from normlab.diagnosis.rules import live
from normlab.diagnosis.spec import Rule

RULES: tuple[Rule, ...] = ()
LIVE: tuple[Rule, ...] = live.RULES  # of `normlab.watch`: a model at rest does not show them
BY_CODE = {rule.code: rule for rule in (*RULES, *LIVE)}
