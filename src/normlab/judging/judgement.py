"""What was found out about runs in a table, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from normlab.errors import InputError, nearest
from normlab.files import make_folder, write_file
from normlab.judging.page import render
from normlab.judging.pictures import PairRow, draw_differences, draw_values
from normlab.judging.runs import Columns, Place, Strata, place_of, place_text
from normlab.report.canvas import as_png, lettering
from normlab.report.notebook import notebook_view
from normlab.report.summary import comparison_data, finite, to_json
from normlab.report.tables import with_bounds, write_table
from normlab.stats.describe import summarize
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison
from normlab.stats.pooled import Pooled
from normlab.wording.comparisons import comparison_sentence, notes_text
from normlab.wording.judging import judge_text, verdict_sentence
from normlab.wording.pooled import pooled_sentence

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

SCHEMA = 1
FIGURES = ("differences", "values")


@dataclass(frozen=True, eq=False)
class Judgement:
    """The verdicts on runs that were trained elsewhere.

    Arguments:
        origin: what the runs were read from.
        columns: which columns said what.
        control: the arm that all others are compared with; None where every pair is.
        arms: what was compared.
        strata: the values of each metric, the primary one first.
        comparisons: of every metric; only those of the primary one have a verdict.
        pooled: each pair of arms over all conditions, where there are several.
        remarks: what a reader must know beside the verdicts.
        options: of the statistics.
    """

    origin: str
    columns: Columns
    control: str | None
    arms: tuple[str, ...]
    strata: tuple[Strata, ...]
    comparisons: tuple[Comparison, ...]
    pooled: tuple[Pooled, ...]
    remarks: tuple[str, ...]
    options: Options

    @property
    def places(self) -> tuple[Place, ...]:
        """The conditions, as columns with their values."""
        return tuple(dict.fromkeys(place for of_metric in self.strata for place in of_metric.values))

    @property
    def answer(self) -> str:
        """How the arms stand in the primary metric, a sentence for each condition."""
        return "\n".join(self.answers.values())

    @property
    def answers(self) -> Mapping[Place, str]:
        """The same by condition."""
        first = self.strata[0]
        return {
            place: verdict_sentence(
                first.metric.title,
                [arm for arm in self.arms if arm in arms],
                [item for item in self.at(place) if item.is_judged],
                self.control,
                place_text(place),
            )
            for place, arms in first.values.items()
        }

    def at(self, place: Place) -> tuple[Comparison, ...]:
        """The comparisons under one condition."""
        return tuple(item for item in self.comparisons if item.context == place)

    def pooled_sentences(self) -> Iterator[str]:
        """How pairs of arms differ over all conditions together."""
        labels, metric = dict(zip(self.arms, self.arms, strict=True)), self.strata[0].metric
        yield from (pooled_sentence(item, metric, labels, self.options.confidence) for item in self.pooled)

    def table(self) -> pl.DataFrame:
        """One row for each comparison."""
        import polars as pl

        rows = []
        for item in self.comparisons:
            fields = comparison_data(item)
            del fields["notes"]
            rows.append({**dict(place_of(item)), **with_bounds(fields)})
        return pl.DataFrame(rows, infer_schema_length=None)

    def summary(self) -> dict[str, Any]:
        """Everything that is said, as plain data under stable names; numbers that are not finite are None."""
        content = {
            "schema": SCHEMA,
            "table": self.origin,
            "columns": asdict(self.columns),
            "control": self.control,
            "arms": self.arms,
            "metrics": [
                {name: getattr(of_metric.metric, name) for name in ("name", "scale", "higher_is_better", "margin")}
                for of_metric in self.strata
            ],
            "answer": [{"condition": dict(place), "sentence": text} for place, text in self.answers.items()],
            "comparisons": [{"condition": dict(place_of(item)), **comparison_data(item)} for item in self.comparisons],
            "pooled": [
                {**asdict(item), "sentence": text}
                for item, text in zip(self.pooled, self.pooled_sentences(), strict=True)
            ],
            "runs": [
                {"condition": dict(place), "arm": arm, "metric": of_metric.metric.name, **self._described(values)}
                for of_metric in self.strata
                for place, arms in of_metric.values.items()
                for arm, values in arms.items()
            ],
            "remarks": self.remarks,
        }
        return cast(dict[str, Any], finite(content))

    def _described(self, values: Mapping[str, float]) -> dict[str, Any]:
        return asdict(summarize(list(values.values()), self.options))

    def plot(self, figure: str = "differences") -> Figure:
        """A picture as a matplotlib figure.

        Arguments:
            figure: ``differences`` of pairs with their intervals, or ``values`` of every run.

        Raises:
            InputError: there is no such figure.
        """
        if figure not in FIGURES:
            raise InputError("figure must be a known one", repr(figure), nearest(str(figure), FIGURES))
        return self._draw(figure)

    def _draw(self, figure: str, *, narrow: bool = False) -> Figure:
        with lettering():
            if figure == "values":
                return draw_values(self.strata, narrow=narrow)
            rows = [self._row(item) for item in self.comparisons if item.is_judged]
            return draw_differences(rows, self.strata[0].metric, narrow=narrow)

    def _row(self, item: Comparison) -> PairRow:
        of_metric = next(one for one in self.strata if one.metric.name == item.metric)
        a, b = (of_metric.at(item)[arm] for arm in (item.a, item.b))
        shared = [seed for seed in a if seed in b]
        values = [of_metric.metric.comparable(np.array([arm[seed] for seed in shared])) for arm in (a, b)]
        with np.errstate(invalid="ignore"):
            differences = values[0] - values[1] if item.is_paired else np.array([])
        return PairRow(item, place_text(place_of(item)), differences[~np.isnan(differences)])

    def sentences(self) -> Iterator[str]:
        """Every comparison in a sentence, with what must be known beside its figures."""
        for item in self.comparisons:
            place = place_text(place_of(item))
            text = comparison_sentence(item)
            notes = notes_text(item)
            yield f"{judge_text('at', place=place, text=text) if place else text}.{f' {notes}' if notes else ''}"

    def __str__(self) -> str:
        return "\n".join((self.answer, *self.remarks))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook_view(str(self), self.comparisons)

    def report(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the page, the pictures, ``summary.json`` and ``comparisons.csv`` into a folder; gives the files.

        Raises:
            InputError: the folder cannot be written.
        """
        pictures = {name: as_png(self.plot(name)) for name in FIGURES}
        page = render(
            judge_text("title", origin=self.origin),
            {place_text(place): (text, self.at(place)) for place, text in self.answers.items()},
            list(self.pooled_sentences()),
            self.remarks,
            [of_metric.metric for of_metric in self.strata],
            {name: (content, as_png(self._draw(name, narrow=True))) for name, content in pictures.items()},
        )
        files = {f"{name}.png": content for name, content in pictures.items()}
        files |= {
            "report.html": page.encode(),
            "summary.json": to_json(self.summary()).encode(),
            "comparisons.csv": write_table(self.table(), "csv"),
        }
        folder = make_folder(Path(path))
        for name, content in files.items():
            write_file(folder / name, content)
        return tuple(folder / name for name in files)

    def __repr__(self) -> str:
        return f"<Judgement of {self.origin}: {self.answer}>"
