"""Measuring norms with progress, and showing what was measured; loaded when something is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from normlab.cli.console import ERRORS, OUT, write_json
from normlab.cli.progress import Log
from normlab.errors import InputError, renamed
from normlab.profiling.layers import profile as profile_layers
from normlab.profiling.models import profile_model
from normlab.profiling.spec import ModelProfile, Profile
from normlab.profiling.write import prepared, tables, write_profile
from normlab.reading import mebibytes


def profile(
    shapes: list[str],
    norms: list[str],
    model: str | None,
    inputs: list[str],
    device: str,
    layers: dict[str, Any],
    common: dict[str, Any],
    out: Path | None,
    json: bool,
    names: Mapping[str, str],
) -> None:
    """Measures layers on shapes, or the norms of a model; shows and keeps what was measured.

    Arguments:
        shapes: the shapes to measure layers on.
        norms: the norms to measure; all that fit if there are none.
        model: the function that makes a model, in place of shapes.
        inputs: what the model takes.
        device: where it is measured.
        layers: what is for layers on shapes.
        common: what is for both, where it was given.
        out: the folder to keep it in.
        json: whether the output is for programs.
        names: the flags by the arguments that remarks name.

    Raises:
        InputError: the flags do not go together, or ask for what cannot be had.
    """
    _refuse_mixed(shapes, model, inputs, layers)
    measured: Profile | ModelProfile
    with prepared(out), _progress() as say:
        if model:
            order = {"memory_format": layers["memory_format"]}
            measured = profile_model(model, inputs, norms=norms, device=device, on_progress=say, **order, **common)
        else:
            layers["sizes"] = mebibytes(layers["sizes"]) if layers["sizes"] else ()
            measured = profile_layers(shapes, norms, device=device, on_progress=say, **layers, **common)
    if json:
        write_json(measured.to_dict())
    else:
        for part in tables(measured, OUT.width):
            if isinstance(part, str):
                OUT.print(renamed(part, names), markup=False, soft_wrap=not OUT.is_terminal)
            else:
                OUT.print(part)
    if out:
        files = ", ".join(file.name for file in write_profile(measured, out))
        (ERRORS if json else OUT).print(f"Written to {out}: {files}", soft_wrap=True, markup=False)


def _refuse_mixed(shapes: list[str], model: str | None, inputs: list[str], layers: dict[str, Any]) -> None:
    """What is for layers on shapes and what is for a model do not go together."""
    if bool(shapes) == bool(model):
        given = "both" if model else "neither"
        raise InputError("normlab profile needs either `shapes` or `model`", given, "Try `shapes=32,64,56,56`.")
    for name in ("layout", "sizes", "compile"):
        if model and layers[name]:
            raise InputError(f"`{name}` is for `shapes`, not for `model`", "both", f"Leave `{name}` out.")
    if inputs and not model:
        raise InputError("`inputs` is for `model`, not for `shapes`", "both", "Leave `inputs` out.")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows what is being measured: a line that changes on a terminal, a few lines in a log."""
    log = Log()
    with ERRORS.status("Measuring") as status:

        def say(message: str) -> None:
            if ERRORS.is_terminal:
                status.update(message)
            elif log.takes(message, time.monotonic()):
                ERRORS.print(message, markup=False)

        yield say
