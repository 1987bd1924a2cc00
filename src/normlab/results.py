"""Running a study and looking at its results from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from normlab.claims.catalog import claims_digest
from normlab.engine.choose import AUTO
from normlab.execute.run import Progress, check, execute
from normlab.plan import Plan, make_plan
from normlab.records import Outcome, Setting
from normlab.report.evidence import Evidence, gather, plain
from normlab.report.pictures import draw
from normlab.report.summary import summarize_evidence, to_json
from normlab.report.write import write_report
from normlab.stats.family import context_of
from normlab.store import directory
from normlab.studies.library import load_study
from normlab.study import Study

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure


class Results:
    """The outcomes of a study with their statistics; data frames are polars'.

    Arguments:
        plan: the plan of the study.
        outcomes: what is stored of it.
        path: the folder they come from; None if they were not kept.
    """

    def __init__(self, plan: Plan, outcomes: Iterable[Outcome], path: Path | None = None) -> None:
        self.plan = plan
        self.outcomes = tuple(outcomes)
        self.path = path

    @property
    def study(self) -> Study:
        """The study."""
        return self.plan.study

    @cached_property
    def evidence(self) -> Evidence:
        """All statistics, computed when first asked for."""
        return gather(self.plan, self.outcomes)

    @property
    def answer(self) -> str:
        """The recommendation, a sentence for each task and setting."""
        return "\n".join(advice.sentence for advice in self.evidence.advice)

    def metrics(self) -> pl.DataFrame:
        """One row for each run, with its metrics; a run that diverged has the worst value, infinity."""
        import polars as pl

        rows = []
        for group in self.evidence.groups:
            for index, seed in enumerate(group.seeds):
                if seed in group.outcomes:
                    outcome = group.outcomes[seed]
                    rows.append(
                        {
                            **_columns(group.task, group.setting),
                            "norm": group.norm,
                            "seed": seed,
                            "status": outcome.status,
                            "parameters": outcome.parameters,
                            "seconds_per_step": outcome.seconds_per_step,
                            **{name: float(values[index]) for name, values in group.metrics.items()},
                        }
                    )
        return pl.DataFrame(rows, infer_schema_length=None)

    def curves(self) -> pl.DataFrame:
        """Every measured value: one row for each run, series and step."""
        import polars as pl

        frames = [
            pl.DataFrame({"step": series.steps, "value": series.values}).with_columns(
                **{name: pl.lit(value) for name, value in _columns(outcome.run.task, outcome.run.setting).items()},
                norm=pl.lit(outcome.run.norm),
                seed=pl.lit(outcome.run.seed),
                series=pl.lit(series_name),
            )
            for outcome in self.outcomes
            for series_name, series in outcome.series.items()
        ]
        return pl.concat(frames) if frames else pl.DataFrame()

    def comparisons(self) -> pl.DataFrame:
        """One row for each pair of norms and metric."""
        import polars as pl

        rows = []
        for item in self.evidence.comparisons:
            fields = asdict(item)
            fields.pop("context")
            low, high = fields.pop("ci")
            fields["notes"] = " ".join(item.notes)
            fields["probability_low"], fields["probability_high"] = fields.pop("probability_ci")
            rows.append({**_columns(*context_of(item)), **fields, "ci_low": low, "ci_high": high})
        return pl.DataFrame(rows, infer_schema_length=None)

    def claims(self) -> pl.DataFrame:
        """One row for each claim, with its verdict and the evidence in a sentence."""
        import polars as pl

        rows = [
            {
                "id": finding.claim.id,
                "statement": finding.claim.statement,
                "verdict": finding.verdict,
                "evidence": finding.evidence,
            }
            for finding in self.evidence.findings
        ]
        return pl.DataFrame(rows, schema=["id", "statement", "verdict", "evidence"] if not rows else None)

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return summarize_evidence(self.evidence)

    def plot(self, figure: str = "curves") -> Figure:
        """A picture as a matplotlib figure, which a notebook shows.

        Arguments:
            figure: ``curves``, ``noise`` or ``article``.

        Raises:
            InputError: there is no such figure, or this study has no data for it.
        """
        return draw(figure, self.evidence)

    def report(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the page, the pictures and ``summary.json`` into a folder; gives the files.

        Raises:
            InputError: the folder cannot be written.
        """
        folder = directory.make_folder(Path(path))
        written = write_report(self.evidence, folder)
        directory.write_file(folder / "summary.json", to_json(self.summary()).encode())
        return (*written, folder / "summary.json")

    def __repr__(self) -> str:
        return f"<Results of {self.study.name!r}: {len(self.outcomes)} runs; {self.answer}>"


def run(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    engine: str = AUTO,
    workers: int = 1,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Results:
    """Trains a study and gives its results; what ``out`` holds of it already is not trained again.

    Arguments:
        study: a study, the name of a built-in one, or a TOML file.
        out: the folder to keep the runs in; without it they live in the results alone.
        changes: values by dotted path that replace those of a named study, such as ``{"setting.epochs": 5}``.
        engine: name of an engine, or ``auto``.
        workers: processes or threads to train in. In a script the call must then stand under
            ``if __name__ == "__main__":``.
        device: ``cpu``, or a GPU such as ``cuda:0``.
        on_progress: called after every finished part of the work.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        ExecutionError: a worker died; what was finished is kept in ``out``.

    >>> study = Study(name="quick", norms=["batch", "layer"], tasks=["article"], seeds=2, setting=Setting(epochs=2))
    >>> run(study).metrics().select("norm", "seed", "status").rows()[0]
    ('batch', 0, 'finished')
    """
    if out is None:
        with TemporaryDirectory(prefix="normlab-", ignore_cleanup_errors=True) as folder:
            results = run(
                study, folder, changes=changes, engine=engine, workers=workers, device=device, on_progress=on_progress
            )
        return Results(results.plan, results.outcomes)
    if not isinstance(study, Study):
        study = load_study(study, changes)
    elif changes:
        study = Study.from_toml(study.to_toml(), "the changed study", changes)
    plan = make_plan(study)
    claims = claims_digest(study.claims)
    check(plan, engine=engine, workers=workers, device=device)
    store = directory.create(Path(out), study, claims)
    execute(plan, store, engine=engine, workers=workers, device=device, on_progress=on_progress)
    return Results(plan, store.outcomes(), store.path)


def load(path: str | Path) -> Results:
    """The results in a folder that ``normlab run`` made, finished or not.

    Raises:
        InputError: it is not such a folder.
    """
    store = directory.load(Path(path))
    return Results(make_plan(store.study), store.outcomes(), store.path)


def _columns(task: str, setting: Setting) -> dict[str, Any]:
    values = setting.model_dump()
    return {"task": task, **values, "hidden": plain(values["hidden"])}
