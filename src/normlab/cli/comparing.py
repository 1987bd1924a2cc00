"""From a user's model to its report; loaded when one is trained."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normlab.cli.training import train_study
from normlab.comparison.study import comparison_study
from normlab.execute.run import Means
from normlab.machine import usable_cores
from normlab.telling.teller import Teller


def compare(
    build: str,
    data: str | None,
    norms: Sequence[str],
    fields: Mapping[str, Any],
    *,
    out: Path | None,
    engine: str,
    workers: int | None,
    device: str,
    dry_run: bool,
    **limits: Any,
) -> int:
    """Compares norms in a user's model, shows the answer and writes the report; gives the exit status.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        Interrupted: Ctrl-C was pressed; says what is kept.
    """
    workers = usable_cores() if workers is None else workers
    with Teller() as teller:
        means = Means(engine, workers, device, teller.wait)
        study = comparison_study(build, data, norms, out=out, means=means, fields=fields, **limits)
        teller.remark(study)
    again = shlex.join(["normlab", *sys.argv[1:]])  # the study alone names the model but does not hold it
    return train_study(study, out, engine, workers, device, dry_run, again)
