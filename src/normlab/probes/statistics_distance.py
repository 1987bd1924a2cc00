"""How far running statistics are from those of the whole training set at the present weights.

For each layer that keeps running statistics, means over its channels, with the population's mean m and deviation s:

- of means: |m_running - m| / s
- of scales: |log(s_running / s)|

Deviations hold the layer's eps. Y. Wu and J. Johnson, 2021, "Rethinking 'batch' in BatchNorm", arXiv:2105.07576,
section 3, on why they differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from normlab.norms.running import Normalizing, mean_distance, running_layers, scale_distance
from normlab.probes.spec import Probe, Quantity, Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``running_distance`` and its parts; none where no layer keeps running statistics."""
    if not now.keeps_running_statistics:
        return {}
    closeup = now.closeup()
    models = closeup.model, closeup.populated()
    pairs = [tuple(map(Normalizing.of, layers)) for layers in zip(*map(running_layers, models), strict=True)]
    means = sum(mean_distance(*pair) for pair in pairs) / len(pairs)
    scales = sum(scale_distance(*pair) for pair in pairs) / len(pairs)
    return {
        "running_distance": means + scales,
        "running_mean_distance": means,
        "running_scale_distance": scales,
    }


STATISTICS_DISTANCE = Probe(
    "statistics_distance",
    "distance of running statistics from those of the whole training set",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "running_distance",
            "distance of running statistics",
            "sum of the distances of running means and scales from those of the whole training set at the present "
            "weights; mean over layers",
        ),
        Quantity(
            "running_mean_distance",
            "distance of running means",
            "mean over channels and layers of the distance of running means from the population's, in standard "
            "deviations",
        ),
        Quantity(
            "running_scale_distance",
            "distance of running scales",
            "mean over channels and layers of the distance of the logarithm of running standard deviations from the "
            "population's",
        ),
    ),
)
