"""Whole studies on real trainings, many times over: do intervals cover, and does a norm differ from itself?

    python3 benchmarks/studies.py                       # article and digits, some minutes on two cores
    python3 benchmarks/studies.py --task article --pool 3000 --seeds 8 --seeds 20

A pool of runs is trained once, each seed with data of its own. Random samples of it are studies of 8, 20 or 40 seeds:
how often does their 95% interval hold the mean difference of the whole pool (new splits included, for every seed is
one)? And how often is a norm called different from itself, its runs of other seeds taken for those of another norm?
Shares come with the standard errors that independent studies would have; those of samples that overlap are larger.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import normlab
from normlab.stats.metric import Metric
from normlab.stats.metrics import metrics_of, primary_metric
from normlab.stats.paired import Options, Pairing, compare
from normlab.stats.samples import Values

NORMS = ("batch", "layer", "group:groups=5")
EPOCHS = {"article": 50, "digits": 15}
STUDIES = 800  # of each pair of norms, and of norms against themselves
Pool = dict[str, Values]


def train(task: str, pool: int, folder: Path) -> tuple[Metric, Pool]:
    """The primary metric of a pool of runs, norm by norm, on its comparable scale."""
    probes = ["training_loss", "canonical_loss", "held_out"]
    study = normlab.Study(name=f"pool-{task}", norms=NORMS, tasks=[task], seeds=pool, measure={"probes": probes})
    changes = {"training.epochs": EPOCHS[task]}
    results = normlab.run(study, folder / task, changes=changes, workers=os.cpu_count() or 1)
    arms = results.evidence.results
    condition = arms[0].condition
    metric = primary_metric(condition)
    return metrics_of(condition)[metric.name], {
        item.norm: metric.comparable(item.metrics[metric.name]) for item in arms
    }


def studies(count: int, seeds: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random samples of a pool, as places in it, each without repetitions."""
    for _ in range(STUDIES):
        yield rng.choice(count, seeds, replace=False)


def coverage(pool: Pool, seeds: int, options: Options) -> tuple[int, int]:
    """How many intervals hold the mean difference of the pool, and of how many."""
    hits = total = 0
    for a, b in combinations(pool, 2):
        true = float((pool[a] - pool[b]).mean())
        pairings = [
            Pairing("loss", number, a, b, pool[a][places], pool[b][places])
            for number, places in enumerate(studies(len(pool[a]), seeds, np.random.default_rng(seeds)))
        ]
        for item in compare(pairings, options, np.random.default_rng(1)):
            hits += item.ci[0] <= true <= item.ci[1]
            total += 1
    return hits, total


def against_itself(pool: Pool, seeds: int, margin: float, options: Options) -> Counter[str]:
    """Verdicts of norms against themselves: in each study three comparisons, one of each norm, are a family."""
    verdicts: Counter[str] = Counter()
    length = len(next(iter(pool.values())))
    samples = list(studies(length, 2 * seeds, np.random.default_rng(seeds + 1)))
    for number, places in enumerate(samples):
        pairings = [
            Pairing("loss", number, norm, "itself", values[places[:seeds]], values[places[seeds:]], margin=margin)
            for norm, values in pool.items()
        ]
        found = compare(pairings, options, np.random.default_rng(2))
        wrong = [item for item in found if item.verdict.startswith(("a ", "b "))]
        verdicts["a wrong difference in the family"] += bool(wrong)
        verdicts["studies"] += 1
        verdicts.update(item.verdict for item in found)
    return verdicts


def share(part: int, whole: int) -> str:
    """A share with its standard error."""
    p = part / whole
    return f"{p:.3f} ± {(p * (1 - p) / whole) ** 0.5:.3f}"


def main() -> None:
    """Trains the pools and prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=sorted(EPOCHS))
    parser.add_argument("--pool", type=int, default=4000, help="runs of each norm")
    parser.add_argument("--seeds", type=int, action="append", help="of a study; 8, 20 and 40 by default")
    arguments = parser.parse_args()
    options = Options(resamples=2000, flips=10_000)
    with TemporaryDirectory() as folder:
        for task in arguments.task or sorted(EPOCHS):
            metric, pool = train(task, arguments.pool, Path(folder))
            print(f"{task}: {metric.title}, {arguments.pool} runs of each norm, data of their own")
            for seeds in arguments.seeds or (8, 20, 40):
                hits, total = coverage(pool, seeds, options)
                print(f"  {seeds:3d} seeds: 95% intervals hold the pool's mean in {share(hits, total)} of {total}")
                verdicts = against_itself(pool, seeds, metric.margin, options)
                whole = verdicts.pop("studies")
                wrong = verdicts.pop("a wrong difference in the family")
                print(
                    f"      a norm against itself, families of {len(pool)}: wrong in {share(wrong, whole)} of {whole}"
                )
                print(f"      verdicts: {dict(verdicts)}")


if __name__ == "__main__":
    main()
