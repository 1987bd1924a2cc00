"""What came out of a study: its outcomes with their statistics, as tables, pictures and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab import reading
from normlab.analysis import Evidence, gather
from normlab.claims.spec import Claim
from normlab.errors import InputError, nearest
from normlab.files import make_folder, write_file
from normlab.plan import Plan
from normlab.report.notebook import notebook_view
from normlab.report.pictures import draw
from normlab.report.summary import summarize_evidence, to_json
from normlab.report.tables import with_bounds, write_table
from normlab.report.write import figures_of, write_report
from normlab.stats.comparisons import condition_of
from normlab.store import directory
from normlab.study.arm import Condition
from normlab.study.outcome import Outcome
from normlab.study.study import Study
from normlab.wording.advice import answer_sentence
from normlab.wording.claims import finding_text
from normlab.wording.comparisons import notes_text, verdict_text

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

COMPARED = ("norm", "metric", "a", "b", "difference", "ci_low", "ci_high", "p_holm", "verdict", "seeds_needed")


class Results:
    """The outcomes of a study with their statistics; data frames are polars'.

    Arguments:
        plan: the plan of the study.
        outcomes: what is stored of it.
        claims: the claims that the study tests.
        path: the folder they come from; None if they were not kept.
    """

    def __init__(
        self, plan: Plan, outcomes: Iterable[Outcome], claims: Sequence[Claim] = (), path: Path | None = None
    ) -> None:
        self.plan = plan
        self.outcomes = tuple(outcomes)
        self.tested = tuple(claims)
        self.path = path

    @property
    def study(self) -> Study:
        """The study."""
        return self.plan.study

    @cached_property
    def evidence(self) -> Evidence:
        """All statistics, computed when first asked for."""
        return gather(self.plan, self.outcomes, self.tested)

    @property
    def answer(self) -> str:
        """What the evidence says, a sentence for each condition."""
        paths = self.evidence.overview.paths
        return "\n".join(answer_sentence(advice, paths) for advice in self.evidence.advice)

    def metrics(self) -> pl.DataFrame:
        """One row for each run, with its metrics; a run that diverged has the worst value, infinity."""
        import polars as pl

        rows = [
            {
                **_columns(results.arm.condition),
                **_cells(dict(results.arm.tuned)),
                "norm": results.arm.norm,
                "seed": seed,
                "status": results.outcomes[seed].status,
                "parameters": results.outcomes[seed].parameters,
                "seconds_per_step": results.outcomes[seed].seconds_per_step,
                "engine": results.outcomes[seed].environment.get("engine", ""),
                **{name: float(values[index]) for name, values in results.metrics.items()},
            }
            for results in self.evidence.results
            for index, seed in enumerate(results.seeds)
            if seed in results.outcomes
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def curves(self) -> pl.DataFrame:
        """Every measured value: one row for each run, series and step."""
        import polars as pl

        wanted = {arm: set(seeds) for arm, seeds in zip(self.plan.arms, self.plan.arm_seeds, strict=True)}
        frames = [
            pl.DataFrame({"step": series.steps, "value": series.values}).with_columns(
                **{name: pl.lit(value) for name, value in _columns(outcome.arm.condition).items()},
                norm=pl.lit(outcome.arm.norm),
                seed=pl.lit(outcome.seed),
                series=pl.lit(series_name),
            )
            for outcome in self.outcomes
            if outcome.seed in wanted.get(outcome.arm, ())
            for series_name, series in outcome.series.items()
        ]
        return pl.concat(frames, how="vertical_relaxed") if frames else pl.DataFrame()

    def comparisons(self) -> pl.DataFrame:
        """One row for each pair of norms and metric."""
        import polars as pl

        rows = []
        for item in self.evidence.comparisons:
            fields = {name: value for name, value in vars(item).items() if name != "context"}
            fields |= {"verdict": verdict_text(item), "better": item.better, "notes": notes_text(item)}
            rows.append({**_columns(condition_of(item)), **with_bounds(fields)})
        return pl.DataFrame(rows, infer_schema_length=None)

    def tuning(self) -> pl.DataFrame:
        """One row for each tuning run: the log loss that values are tuned by; infinity where it diverged or failed."""
        import polars as pl

        seeds = self.study.policy.seeds_to_tune_on
        rows = [
            {
                **_columns(arm.condition),
                "norm": curve.norm,
                "seed": seed,
                "log_loss": log_loss,
                "is_best": index == curve.best,
            }
            for curve in self.evidence.tuning
            for index, (arm, scores) in enumerate(zip(curve.arms, curve.scores, strict=True))
            for seed, log_loss in zip(seeds, scores, strict=True)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def claims(self) -> pl.DataFrame:
        """One row for each finding on a claim, with its verdict and the evidence in a sentence."""
        import polars as pl

        rows = [
            {
                "id": finding.claim.id,
                "statement": finding.claim.statement,
                "verdict": finding.verdict,
                "evidence": finding_text(finding),
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
            figure: ``curves``, ``noise``, ``article``, ``sweep``, ``map``, ``tuning`` or ``looks``.

        Raises:
            InputError: there is no such figure, or this study has no data for it.
        """
        return draw(figure, figures_of(self.evidence))

    def report(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the page, the pictures and ``summary.json`` into a folder; gives the files.

        Raises:
            InputError: the folder cannot be written.
        """
        folder = make_folder(Path(path))
        written = write_report(self.evidence, folder)
        write_file(folder / "summary.json", to_json(self.summary()).encode())
        return (*written, folder / "summary.json")

    def export(self, what: str = "metrics", format: str = "csv") -> bytes:
        """A table for other programs and for papers.

        In Markdown and LaTeX, comparisons leave out what is the same in every row, such as the fields of a single
        condition; norms, metric, effect and verdict always stay.

        Arguments:
            what: ``metrics``, ``comparisons``, ``curves``, ``claims`` or ``tuning``.
            format: ``csv``, ``markdown``, ``latex`` or ``parquet``.

        Raises:
            InputError: there is no such table or format.
        """
        frames: dict[str, Callable[[], pl.DataFrame]] = {
            "metrics": self.metrics,
            "comparisons": self.comparisons,
            "curves": self.curves,
            "claims": self.claims,
            "tuning": self.tuning,
        }
        if what not in frames:
            raise InputError("what must be a table of results", repr(what), nearest(str(what), frames))
        return write_table(frames[what](), format, COMPARED if what == "comparisons" else None)

    def __str__(self) -> str:
        return self.answer

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook_view(str(self), self.evidence.comparisons)

    def __repr__(self) -> str:
        return f"<Results of {self.study.name!r}: {len(self.outcomes)} runs; {self.answer}>"


def load(path: str | Path) -> Results:
    """The results in a folder that ``normlab run`` made, finished or not; runs no code but normlab's.

    Raises:
        InputError: it is not such a folder.
    """
    store = directory.load(reading.path(path))
    plan, claims = store.plan()
    return results_in(store, plan, tuple(Claim.from_dict(claim) for claim in claims))


def results_in(store: directory.Store, plan: Plan, claims: tuple[Claim, ...]) -> Results:
    """The results of a plan, as far as its runs are stored."""
    runs = dict.fromkeys((arm, seed) for arm, seeds in plan.seeds_by_arm for seed in seeds)
    stored = store.outcomes({arm.run_key(seed) for arm, seed in runs})
    outcomes = {(outcome.arm, outcome.seed): outcome for outcome in stored}
    return Results(plan, [outcomes[run] for run in runs if run in outcomes], claims, store.path)


def _columns(condition: Condition) -> dict[str, Any]:
    return _cells(condition.values())


def _cells(values: Mapping[str, Any]) -> dict[str, Any]:
    """Each value as a cell of a table holds it, under the last part of its path."""
    return {
        path.rpartition(".")[2]: "-".join(map(str, value)) if isinstance(value, tuple) else value
        for path, value in values.items()
    }
