"""Claims on the console; loaded when they are shown or tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from normlab import cli
from normlab.claims.catalog import CLAIMS, claim_studies, find_claims
from normlab.cli.console import OUT, show_text, write_json
from normlab.errors import InputError
from normlab.study.study import Study
from normlab.tables import Column, fitting_table
from normlab.telling.opening import duration
from normlab.wording.hypotheses import claim_entry, claim_sentences

SCHEMA = 1


def show_all(json: bool) -> None:
    """Shows the table of built-in claims."""
    if json:
        write_json({"schema": SCHEMA, "claims": [claim_entry(claim) for claim in CLAIMS]})
        return
    studies = [claim.to_study() for claim in CLAIMS]
    columns = (
        Column("id", [claim.id for claim in CLAIMS]),
        Column("about", [claim.theme for claim in CLAIMS], rank=4, fold=12),
        Column("claim", [claim.statement for claim in CLAIMS], fold=30),
        Column("tasks", [", ".join(study.tasks) for study in studies], rank=1, fold=12),
        Column(
            "sweep", [", ".join(path.partition(".")[2] for path in study.sweep) for study in studies], rank=3, fold=10
        ),
        Column("seeds", [str(study.seeds) for study in studies], rank=2, right=True),
    )
    OUT.print(fitting_table("Claims about norms", columns, OUT.width))
    OUT.print("normlab claims show ID says what would have to hold; normlab claims run ID... tests it.")


def show(reference: str, json: bool) -> None:
    """Shows a claim, with the study that tests it as TOML.

    Raises:
        InputError: there is no such claim.
    """
    (claim,) = find_claims([reference])
    if json:
        write_json({"schema": SCHEMA, **claim_entry(claim)})
        return
    show_text(f"{claim.id}: {claim.statement}")
    for sentence in claim_sentences(claim)[1:]:
        show_text(f"  {sentence}")
    show_text(f"\n{claim.study_text(reference).rstrip()}")


def run(
    references: Sequence[str],
    every: bool,
    seeds: int | None,
    out: Path | None,
    engine: str,
    workers: int | None,
    device: str,
    dry_run: bool,
) -> int:
    """Trains the studies of claims, each in a folder of its own, and says how long each took; gives the exit status.

    Arguments:
        references: ids of claims.
        every: whether all built-in claims are tested, in their place.
        seeds, engine, workers, device, dry_run: as for `normlab.cli.training.train`.
        out: the folder that theirs are in; ``results/claims`` if None.

    Raises:
        InputError: there is no such claim, or something that was given cannot be used; nothing was started.
    """
    if every == bool(references):
        given = "both" if references else "neither"
        raise InputError("claims run takes ids of claims, or --all", given, "`normlab claims` lists the ids.")
    studies = claim_studies([claim.id for claim in CLAIMS] if every else references, seeds)
    find_claims(reference for study in studies for reference in study.claims)
    folder = out or Path("results") / "claims"
    statuses, seconds = [], []
    for study in studies:
        start = perf_counter()
        statuses.append(cli.training.train_study(study, folder / study.name, engine, workers, device, dry_run))
        seconds.append(perf_counter() - start)
    if len(studies) > 1 and not dry_run:
        show_times(studies, seconds)
    return max(statuses, default=0)


def show_times(studies: Sequence[Study], seconds: Sequence[float]) -> None:
    """How long each study of claims took, the slowest first."""
    ordered = sorted(zip(studies, seconds, strict=True), key=lambda item: -item[1])
    columns = (
        Column("claims", [", ".join(study.claims) for study, _ in ordered], fold=30),
        Column("time", [duration(taken) for _, taken in ordered], right=True),
    )
    OUT.print(fitting_table(f"{duration(sum(seconds))} in all", columns, OUT.width))
