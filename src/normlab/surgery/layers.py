"""What follows a swap around the layers: fast paths, hooks, activations in place, and the optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from normlab.surgery.carry import Carried
from normlab.surgery.edits import Edits
from normlab.surgery.plan import Step

if TYPE_CHECKING:
    from torch.optim import Optimizer


def around(
    edits: Edits, pairs: Iterable[tuple[Step, Carried]], optimizer: Optimizer | None
) -> tuple[tuple[str, ...], str]:
    """Mends what depends on the replaced layers; every change can be undone.

    Returns:
        What must be known of the result, and what was changed in the optimizer.
    """
    return (), ""
