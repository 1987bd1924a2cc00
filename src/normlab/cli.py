"""The command line: builds a study, calls functions, prints."""

from __future__ import annotations

import gc
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


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"must be a whole number, such as 30; got {text!r}.") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number, such as 0.001; got {text!r}.") from None


WHOLE: Any = {"parser": _whole, "metavar": "<int>"}
NUMBER: Any = {"parser": _number, "metavar": "<float>"}


@app.command()
def run(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A built-in study (`normlab studies`) or a TOML file.")],
    norm: Annotated[
        list[str] | None,
        typer.Option(help="Norm to compare, such as `batch` or `group:groups=10`; repeat it. Replaces the study's."),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task to train on; repeat it. Replaces the study's.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Paired runs of each norm.", **WHOLE)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in a batch.", **WHOLE)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", **NUMBER)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.", **WHOLE)] = None,
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
        int | None, typer.Option(help="Processes or threads to train in; every core by default.", **WHOLE)
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
        normlab.terminal.show_answer(results)
        normlab.terminal.show_files(results.report(folder), folder)
    except KeyboardInterrupt:
        normlab.terminal.show_interrupted(folder, chosen)
        normlab.terminal.leave(130)
        raise typer.Exit(130) from None
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
def norms(
    batch_free: Annotated[bool, typer.Option("--batch-free", help="Whose output never depends on the batch.")] = False,
    couples_batch: Annotated[
        bool, typer.Option("--couples-batch", help="Whose training output depends on the batch.")
    ] = False,
    stateless: Annotated[bool, typer.Option("--stateless", help="That keep no buffers.")] = False,
    activates: Annotated[
        bool | None, typer.Option("--activates/--no-activates", help="With an activation of their own, or without.")
    ] = None,
    changes_weights: Annotated[
        bool | None, typer.Option("--weights/--no-weights", help="That change weights, or that do not.")
    ] = None,
    invariance: Annotated[
        list[str] | None,
        typer.Option(
            help="That do not feel a change of `scale`, `shift`, `channel scale`, `sample shift`, ...; repeat it, or "
            "`scale,shift`."
        ),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="That take NC, NCL, NCHW, NCDHW or NLC input.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: complete entries.")] = False,
) -> None:
    """List the norms that a study can compare, all or those that fulfil what is asked."""
    found = normlab.find_norms(
        batch_free=batch_free,
        couples_batch=couples_batch,
        stateless=stateless,
        activates=activates,
        changes_weights=changes_weights,
        invariances=invariance or (),
        layout=layout,
    )
    if json:
        print(normlab.terminal.as_text({"schema": 1, "norms": [normlab.norm_entry(spec) for spec in found]}), end="")
    else:
        normlab.terminal.show_norms(found, layout)


@app.command()
def explain(
    norm: Annotated[
        list[str], typer.Argument(metavar="NORM...", help="Such as `batch` or `group:groups=8` (see `normlab norms`).")
    ],
    shape: Annotated[str | None, typer.Option(help="Sizes of the input, such as 32,64,56,56.")] = None,
    layout: Annotated[str | None, typer.Option(help="NC, NCL, NCHW, NCDHW or NLC; told by the sizes if not.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Side by side, a column each.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the drawing: .png, .svg, or .html with the text.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Explain norms: axes with a drawing, formula, training against evaluation, what suits and what breaks them."""
    explanation = normlab.explain(*norm, shape=shape, layout=layout)
    written = explanation.save(out) if out else None
    if json:
        print(normlab.terminal.as_text(explanation.as_dict()), end="")
    elif compare:
        normlab.terminal.show_comparison(explanation)
    else:
        normlab.terminal.show_explanation(explanation)
    if written and not json:
        normlab.terminal.show_text(f"Written to {written}")


@app.command()
def check(
    norm: Annotated[
        str, typer.Argument(metavar="NORM", help="`package.module:object` (a NormSpec or a module's class), or a name.")
    ],
    compile: Annotated[bool, typer.Option("--compile", help="Check torch.compile too, which takes a while.")] = False,
    layout: Annotated[str | None, typer.Option(help="NC, NCL, NCHW, NCDHW or NLC; by default all that fit.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels; by default the first of some that fit.", **WHOLE)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check which claims of a norm hold: axes, invariances, gradient, degenerate shapes, state. Status 1 if not all."""
    report = normlab.check_norm(norm, compile=compile, layout=layout, channels=channels)
    if json:
        print(normlab.terminal.as_text(report.as_dict()), end="")
    else:
        normlab.terminal.show_report(report)
    if not report.holds:
        raise typer.Exit(1)


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
    repeats: Annotated[
        int | None, typer.Option(help="Rounds; by default as many as fit into --seconds.", **WHOLE)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="For all rounds of a shape (5) or a model (20).", **NUMBER)
    ] = None,
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
    gc.set_threshold(20_000, 20, 20)  # what is imported stays: looking through it again and again takes 0.2 s
    try:
        app()
    except NormlabError as error:
        normlab.terminal.show_error(str(error))
        sys.exit(error.exit_status)
