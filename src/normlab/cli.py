"""The command line: builds a study, calls functions, prints."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

import normlab
from normlab.errors import NormlabError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Which normalization layer should my model use? Paired many-seed experiments, statistics and verdicts.",
)
studies_app = typer.Typer(invoke_without_command=True, help="List the built-in studies, or show one to copy.")
app.add_typer(studies_app, name="studies")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `normlab run` made.")]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(normlab.__version__)
        raise typer.Exit


@app.command()
def run(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A built-in study (`normlab studies`) or a TOML file.")],
    norm: Annotated[
        list[str] | None,
        typer.Option(help="Norm to compare, such as `batch` or `group:groups=10`; repeat it. Replaces the study's."),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task to train on; repeat it. Replaces the study's.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Paired runs of each norm.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a batch.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any field of the study, with a TOML value: `--set setting.hidden=[100,100]`, "
            "`--set sweep.batch_size=[16,64,256]`.",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="How runs are trained: auto or the name of an engine.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes or threads to train in; every core by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or a GPU such as cuda:0.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results; results/NAME-HASH by default.")
    ] = None,
) -> None:
    """Train a study and report what it shows. Work that was interrupted goes on where it stopped."""
    flags: dict[str, Any] = {
        "norms": norm,
        "tasks": task,
        "seeds": seeds,
        "setting.batch_size": batch_size,
        "setting.learning_rate": lr,
        "setting.epochs": epochs,
        "setting.optimizer": optimizer,
    }
    given = {field: value for field, value in flags.items() if value is not None}
    given |= dict(normlab.terminal.assignment(text) for text in changes or [])
    chosen = normlab.load_study(study, given)
    folder = out or Path("results") / f"{chosen.name}-{chosen.key[:7]}"
    workers = normlab.terminal.cores() if workers is None else workers
    try:
        with normlab.terminal.progress(chosen, folder, engine, workers, device) as on_progress:
            results = normlab.run(
                chosen, folder, engine=engine, workers=workers, device=device, on_progress=on_progress
            )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    normlab.terminal.show_answer(results)
    normlab.terminal.show_files(results.report(folder), folder)
    if any(outcome.status == "failed" for outcome in results.outcomes):
        raise typer.Exit(1)


@app.command()
def report(directory: Directory) -> None:
    """Write the page, the pictures and summary.json of a study anew."""
    normlab.terminal.show_files(normlab.load(directory).report(directory), directory)


@app.command()
def show(
    directory: Directory,
    json: Annotated[bool, typer.Option("--json", help="For programs: what summary.json holds.")] = False,
) -> None:
    """Show the tables of a study in the terminal."""
    results = normlab.load(directory)
    if json:
        print(normlab.terminal.as_json(results), end="")
    else:
        normlab.terminal.show_everything(results)


@app.command()
def norms() -> None:
    """List the norms that a study can compare."""
    normlab.terminal.show_norms()


@app.command()
def explain(
    norm: Annotated[str, typer.Argument(metavar="NORM", help="Such as batch, layer or group (see `normlab norms`).")],
) -> None:
    """Explain a norm: axes, formula, training against evaluation, when it suits, what breaks it."""
    normlab.terminal.explain_norm(norm)


@app.command()
def profile(
    shape: Annotated[
        list[str] | None, typer.Option(metavar="N,C,...", help="Shape of the input, such as 32,64,56,56; repeat it.")
    ] = None,
    norm: Annotated[list[str] | None, typer.Option(help="Norm to measure; repeat it. All that fit by default.")] = None,
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
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="N,...", help="What the model takes: 8,3,224,224, or 8,128:1000 for tokens."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or a GPU such as cuda:0.")] = "cpu",
    repeats: Annotated[int | None, typer.Option(help="Rounds; by default as many as fit into --seconds.")] = None,
    seconds: Annotated[float | None, typer.Option(help="For all rounds of a shape (5) or a model (20).")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for profile.json and profile.png.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: print what profile.json holds.")] = False,
) -> None:
    """Measure speed and memory of norms on your shapes, or each norm's share of a step of your model."""
    flags = {"dtype": dtype, "repeats": repeats, "seconds": seconds}
    asked = {name: value for name, value in flags.items() if value is not None}
    layers = {"layout": layout, "sizes": sizes, "memory_format": memory_format, "compile": compile}
    normlab.terminal.profile(shape or [], norm or [], model, inputs or [], device, layers, asked, out, json)


@studies_app.callback()
def studies(context: typer.Context) -> None:
    """List the built-in studies."""
    if context.invoked_subcommand is None:
        normlab.terminal.show_studies()


@studies_app.command("show")
def show_study(name: Annotated[str, typer.Argument(metavar="NAME", help="A built-in study.")]) -> None:
    """Print a study as TOML, to copy and change: `normlab studies show article > mine.toml`."""
    print(normlab.terminal.study_text(name), end="")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    normlab.terminal.show_warning(str(message))


def main() -> None:
    """Runs the command line; a mistake in the input ends with one message and status 2."""
    sys.path.insert(0, os.getcwd())  # so that package.module:object finds what lies beside the study
    warnings.showwarning = _show_warning
    try:
        app()
    except NormlabError as error:
        normlab.terminal.show_error(str(error))
        sys.exit(error.exit_status)
