"""The built-in probes, by name."""

from __future__ import annotations

from collections.abc import Iterable

from normlab.probes.activation_rank import ACTIVATION_RANK
from normlab.probes.batch import GRADIENT_NORM, TRAINING_LOSS
from normlab.probes.calibration import CALIBRATION
from normlab.probes.canonical import CANONICAL_LOSS
from normlab.probes.curvature import CURVATURE
from normlab.probes.dead_units import DEAD_UNITS
from normlab.probes.gradient_noise import GRADIENT_NOISE_SCALE
from normlab.probes.held_out import HELD_OUT
from normlab.probes.landscape import LANDSCAPE
from normlab.probes.layer_gradients import LAYER_GRADIENTS
from normlab.probes.memory import MEMORY
from normlab.probes.noise import NOISE
from normlab.probes.robustness import ROBUSTNESS
from normlab.probes.schedule import scheduled
from normlab.probes.spec import Probe, Quantity
from normlab.probes.statistics_distance import STATISTICS_DISTANCE
from normlab.probes.weights import WEIGHTS
from normlab.reading import find, split_options

PROBES: tuple[Probe, ...] = (
    TRAINING_LOSS,
    GRADIENT_NORM,
    CANONICAL_LOSS,
    HELD_OUT,
    NOISE,
    LANDSCAPE,
    CURVATURE,
    GRADIENT_NOISE_SCALE,
    LAYER_GRADIENTS,
    DEAD_UNITS,
    ACTIVATION_RANK,
    STATISTICS_DISTANCE,
    WEIGHTS,
    CALIBRATION,
    ROBUSTNESS,
    MEMORY,
)


def find_probe(text: str) -> Probe:
    """The probe of that name, or the user's behind ``package.module:object``, with its moments as the options say.

    >>> find_probe("noise").moment, find_probe("curvature:at=0,1").shares
    ('tail', (0.0, 1.0))
    """
    reference, options = split_options(text, (probe.name for probe in PROBES))
    return scheduled(find(reference, "probe", PROBES, Probe), options, text)


def quantities_of(texts: Iterable[str], part: str | None) -> tuple[Quantity, ...]:
    """What is said of the series of built-in probes; nothing of a user's, whose code is not looked up for this.

    Arguments:
        texts: probes as a study names them.
        part: the held-out set that some of them are about; None without any.

    >>> [quantity.name for quantity in quantities_of(["weights:every=5", "calibration"], "test")]
    ['weight_norm', 'effective_rate', 'test_nll', 'test_brier', 'test_ece']
    """
    names = [text.partition(":")[0] for text in texts]
    series = [quantity for probe in PROBES if probe.name in names for quantity in probe.series]
    return tuple(quantity.of(part or "") for quantity in series if part or quantity.of("") == quantity)


def find_quantity(series: str) -> Quantity | None:
    """What is said of a series of a built-in probe; None for any other.

    >>> find_quantity("validation_ece").title
    'validation calibration error'
    """
    for quantity in (quantity for probe in PROBES for quantity in probe.series):
        before, part, after = quantity.name.partition("{part}")
        if series == quantity.name or (part and series.endswith(after) and series.startswith(before)):
            return quantity.of(series.removesuffix(after) if part else "")
    return None
