"""`normlab profile`: speed and memory of norms, or of a model's norms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import cli
from normlab.cli.commands import flags
from normlab.cli.parameters import NUMBER, PATH, WHOLE, Inputs


def profile(
    context: typer.Context,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--shape", metavar="N,C,...", help="Shape of the input, such as 32,64,56,56; repeat it."),
    ] = None,
    norms: Annotated[
        list[str] | None, typer.Option("--norm", help="Norm to measure; repeat it. All that fit by default.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="NC, NCL, NLC, NCHW or NCDHW; by default what fits.")] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="MIB,...", help="The shape at other batch sizes, near these MiB.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float64, bf16 or fp16.")] = None,
    memory_format: Annotated[str, typer.Option(help="contiguous or channels_last.")] = "contiguous",
    compile: Annotated[bool, typer.Option("--compile", help="Put every layer through torch.compile.")] = False,
    model: Annotated[
        str | None, typer.Option(metavar="PKG.MOD:BUILD", help="A function that makes a model: profile its norms.")
    ] = None,
    inputs: Inputs = None,
    device: Annotated[str, typer.Option(help="cpu, or a GPU such as cuda:0.")] = "cpu",
    repeats: Annotated[
        int | None, typer.Option(help="Rounds; by default as many as fit into --seconds.", **WHOLE)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="For all rounds of a shape (5) or a model (20).", **NUMBER)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for profile.json and profile.png.", **PATH)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: print what profile.json holds.")] = False,
) -> None:
    """Measure speed and memory of norms on your shapes, or each norm's share of a step of your model."""
    options = {"dtype": dtype, "repeats": repeats, "seconds": seconds}
    common = {name: value for name, value in options.items() if value is not None}
    layers = {"layout": layout, "sizes": sizes, "memory_format": memory_format, "compile": compile}
    cli.profiling.profile(
        shapes or [], norms or [], model, inputs or [], device, layers, common, out, json, flags(context)
    )
