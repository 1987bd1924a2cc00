"""From a user's model to its report; loaded when one is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normlab.cli.console import ERRORS
from normlab.cli.training import train_study
from normlab.comparison.study import find_comparison
from normlab.reading import imported


def compare(
    build: str,
    data: str | None,
    norms: Sequence[str],
    fields: Mapping[str, Any],
    *,
    loss: str | None,
    step: str | None,
    name: str,
    out: Path | None,
    engine: str,
    device: str,
    dry_run: bool,
) -> int:
    """Compares norms in a user's model, shows the answer and writes the report; gives the exit status.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        Interrupted: Ctrl-C was pressed; says what is kept.
    """
    comparison = find_comparison(
        build,
        data,
        norms,
        loss=loss and imported(loss, "`loss`", object),
        step=_function(step),
        name=name,
        fields=fields,
    )
    for sentence in comparison.said:
        ERRORS.print(sentence, markup=False)
    return train_study(comparison.study, out, engine, 1, device, dry_run)


def _function(reference: str | None) -> Any:
    return imported(reference, "`step`", object) if reference else None
