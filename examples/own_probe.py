"""A probe of your own: how long are the weight vectors before a norm?

With a norm behind it, a weight matrix may grow without changing the output, and the steps then turn it less and less.
Beside this file: `normlab run own_probe.toml`. The column `last_weight_length` of `normlab export results/lengths` is
its last value in each run.
"""

from collections.abc import Mapping

from normlab import Probe
from normlab.probes.spec import Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series `weight_length`: Euclidean norm of all weight matrices together."""
    matrices = [parameter.detach() for parameter in now.model().parameters() if parameter.dim() > 1]
    return {"weight_length": sum(float(matrix.square().sum()) for matrix in matrices) ** 0.5}


WEIGHT_LENGTH = Probe(
    name="weight_length",
    meaning="Euclidean norm of all weight matrices together",
    moment="epoch",  # before the first step and after every epoch
    measure=measure,
    needs=frozenset({"model"}),
)
