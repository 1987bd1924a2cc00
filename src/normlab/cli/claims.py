"""`normlab claims`: what is claimed about norms, and the studies that test it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab import cli
from normlab.cli.commands import Command, Group
from normlab.cli.interrupts import before_training, explained
from normlab.cli.parameters import PATH, WHOLE, Json
from normlab.cli.training_flags import Device, DryRun, Engine, Workers

app = typer.Typer(
    cls=Group,
    invoke_without_command=True,
    help="List what is claimed about norms, show or test claims, or write their ledger.",
)
Claim = Annotated[str, typer.Argument(metavar="ID", help="A built-in claim, or `package.module:object`.")]


@app.callback()
def claims(context: typer.Context, json: Json = False) -> None:
    """List what is claimed about norms."""
    if context.invoked_subcommand is None:
        cli.claim_list.show_all(json)


@app.command("show", cls=Command)
def show_claim(claim: Claim, json: Json = False) -> None:
    """Show a claim: who makes it, what would have to hold, and the study that tests it."""
    cli.claim_list.show(claim, json)


@app.command("run", cls=Command)
def run_claims(
    claims: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Claims to test; `normlab claims` lists them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Test every built-in claim.")] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Paired runs of each norm, in the place of the claim's.", **WHOLE)
    ] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    device: Device = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the results, with one for each study in it; results/claims."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Train the studies that test claims, and report the verdicts. Claims that the same runs test share a study.

    What the folders hold already is not trained again: a run that was stopped goes on where it was.
    """
    with explained(before_training):
        status = cli.claim_list.run(claims or [], every, seeds, out, engine, workers, device, dry_run)
    raise typer.Exit(status)


@app.command("ledger", cls=Command)
def write_ledger(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Folder with the results of claims; results/claims.", **PATH)
    ] = Path("results/claims"),
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for ledger.md, ledger.html, ledger.json; DIR by default.", **PATH),
    ] = None,
) -> None:
    """Write the ledger: of every claim the verdict with its evidence, what it took, and the command that repeats it."""
    cli.ledger.write(folder, out)
