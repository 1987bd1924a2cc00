"""A metric of your own: the best loss that a run reached on the test set, wherever in the training that was.

Metrics are derived from what is stored, so a folder of results is enough, and nothing is trained again:
`python own_metric.py results/article`.
"""

import sys

from numpy.typing import NDArray

import normlab
from normlab.analysis import gather
from normlab.stats.curves import Curves
from normlab.wording.comparisons import comparison_sentence


def lowest(curves: Curves) -> NDArray:
    """One value for each run: the rows of a series are the runs, its columns the measured steps."""
    return curves.series["test_loss"].values.min(axis=1)


BEST_LOSS = normlab.Metric(
    name="best_test_loss",
    title="best test loss",
    meaning="the lowest loss on the test set over all epochs",
    needs=("test_loss",),
    compute=lowest,
    margin=0.1,  # losses are compared as ratios: factors up to exp(0.1) are too small to matter
    family="secondary",
)

if __name__ == "__main__":
    results = normlab.load(sys.argv[1])
    for comparison in gather(results.plan, results.outcomes, extra=[BEST_LOSS]).comparisons:
        if comparison.metric == BEST_LOSS.name:
            print(comparison_sentence(comparison))
