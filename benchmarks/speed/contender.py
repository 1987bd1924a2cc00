"""One row of the benchmark in a process of its own, which trains whenever it gets a line.

python3 benchmarks/speed/contender.py KEY TASK NORM REPLICAS EPOCHS

PYTHONPATH says of which version: its src/ and benchmarks/. Each line of output is JSON: seconds of wall clock and of
the processor; the first one is of the first call.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter, process_time

from speed.job import Contender, make_job
from speed.ours import contenders


def main(key: str, task: str, norm: str, replicas: int, epochs: int) -> None:
    """Trains once, and again for each line of the input."""
    contender = _find(key, task, norm, replicas, epochs)
    _train(contender)
    for _ in sys.stdin:
        _train(contender)


def _find(key: str, task: str, norm: str, replicas: int, epochs: int) -> Contender:
    job = make_job(task, norm, replicas, epochs)
    made = (make() for name, make in contenders(job) if key in (name, f"{name}-alone"))
    return next(contender for contender in made if contender.key == key)


def _train(contender: Contender) -> None:
    began, busy = perf_counter(), process_time()
    contender.train()
    print(json.dumps({"wall": perf_counter() - began, "cpu": process_time() - busy}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
