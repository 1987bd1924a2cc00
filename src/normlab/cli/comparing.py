"""From a user's model to its report; loaded when one is trained."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normlab.cli.console import ERRORS
from normlab.cli.progress import Patience
from normlab.cli.training import train_study
from normlab.comparison.study import comparison_study
from normlab.plan import Remark
from normlab.reading import imported
from normlab.wording.remarks import note_sentence


def compare(
    build: str,
    data: str | None,
    norms: Sequence[str],
    fields: Mapping[str, Any],
    *,
    loss: str | None,
    step: str | None,
    out: Path | None,
    engine: str,
    device: str,
    dry_run: bool,
    **limits: Any,
) -> int:
    """Compares norms in a user's model, shows the answer and writes the report; gives the exit status.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        Interrupted: Ctrl-C was pressed; says what is kept.
    """
    with Patience(ERRORS) as patience:
        study = comparison_study(
            build,
            data,
            norms,
            loss=_function(loss, "`loss`"),
            step=_function(step, "`step`"),
            out=out,
            engine=engine,
            device=device,
            on_trial=patience.wait,
            fields=fields,
            **limits,
        )
    for remark in study.remarks:
        ERRORS.print(note_sentence(Remark(study.name, remark)), markup=False)
    again = shlex.join(["normlab", *sys.argv[1:]])  # the study alone names the model but does not hold it
    return train_study(study, out, engine, 1, device, dry_run, again)


def _function(reference: str | None, name: str) -> Any:
    return imported(reference, name, object) if reference else None
