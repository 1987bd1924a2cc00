"""One size of the growth curve, in a process of its own: ``python -m speed.growth TASK NORM REPLICAS EPOCHS``.

Prints JSON: seconds of training with all probes and of keeping the outcomes, and the peak memory.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from normlab.engine.choose import choose
from normlab.store.fragment import encode
from speed.job import make_job

STATUS = Path("/proc/self/status")


def main(task: str, norm: str, replicas: int, epochs: int) -> dict[str, float | str]:
    """Trains part after part with the engine that normlab chooses, and keeps every part as the store does."""
    warm = make_job(task, norm, 1, epochs).cohort
    engine = choose(warm).engine
    list(engine.train(warm, "cpu"))
    before = peak_mib()

    job = make_job(task, norm, replicas, epochs)
    training = keeping = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(job.cohort.parts(engine.part_size(job.cohort.recipe))):
            began = perf_counter()
            outcomes = list(engine.train(part, "cpu"))
            trained = perf_counter()
            (Path(folder) / f"{number}.parquet").write_bytes(encode(outcomes))
            training += trained - began
            keeping += perf_counter() - trained
    steps = epochs * make_job(task, norm, 1, 1).steps
    return {
        "engine": engine.name,
        "replicas": replicas,
        "steps": steps,
        "microseconds": 1e6 * training / replicas / steps,
        "keeping_microseconds": 1e6 * keeping / replicas / steps,
        "seconds": training + keeping,
        "peak_mib": peak_mib(),
        "peak_mib_before": before,
    }


def peak_mib() -> float:
    """The most memory that this process has held, in MiB.

    On Linux not by ``getrusage``: there a new process begins with the peak of the one that started it.
    """
    if STATUS.exists():
        fields = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
