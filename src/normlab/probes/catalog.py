"""The built-in probes, by name."""

from __future__ import annotations

from normlab.probes.batch import GRADIENT_NORM, TRAINING_LOSS
from normlab.probes.canonical import CANONICAL_LOSS
from normlab.probes.held_out import HELD_OUT
from normlab.probes.noise import NOISE
from normlab.probes.spec import Probe
from normlab.reading import find

PROBES: tuple[Probe, ...] = (TRAINING_LOSS, GRADIENT_NORM, CANONICAL_LOSS, HELD_OUT, NOISE)


def find_probe(reference: str) -> Probe:
    """The probe of that name, or the user's behind ``package.module:object``.

    >>> find_probe("noise").moment
    'tail'
    """
    return find(reference, "probe", PROBES, Probe)
