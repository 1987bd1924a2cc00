"""Pages and pictures of sweeps: bounded, readable, with every condition within reach."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from normlab.analysis import Evidence, gather
from normlab.errors import InputError
from normlab.report.canvas import folded
from normlab.report.pictures import draw
from normlab.report.write import figures_of, write_report
from pages import Reader, browsed, needs_browser, whole_text
from synthetic import article_plan, made_outcomes

NORMS = ("batch", "layer", "group:groups=5")
LONG = [[10], [20, 20], [100] * 4, [100] * 9]


def evidence_of(sweep: dict[str, list[Any]], seeds: int = 3, **values: Any) -> Evidence:
    plan = article_plan(seeds=seeds, norms=NORMS, sweep=sweep, **{"training": {"epochs": 4}, **values})
    finals = {norm: 0.1 + 0.02 * place + 0.001 * np.arange(seeds) for place, norm in enumerate(NORMS)}
    return gather(plan, made_outcomes(plan, finals))


def shown_texts(figure: Figure) -> list[tuple[str, Any]]:
    """Every text of a picture with the box that it takes, in dots."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [*figure.texts, figure._supxlabel, figure._suptitle]  # matplotlib has no public name for the two
    for axes in figure.axes:
        if axes.get_visible():
            low, high = sorted(axes.get_ylim())
            ticks = [label for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
            texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *ticks, *axes.texts]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text and text.get_text()]


SWEEPS = {
    "one field": {"training.batch_size": [16, 64, 256]},
    "tuples": {"model.hidden": LONG},
    "two fields": {"training.batch_size": [16, 64], "model.hidden": LONG},
    "many values": {"training.learning_rate": [10.0 ** (-n / 4) for n in range(4, 24)]},
    "values close together": {"training.momentum": [0.5, 0.9, 0.95, 0.99, 0.995, 0.999]},
    "three fields": {
        "training.batch_size": [16, 64],
        "training.learning_rate": [1e-3, 1e-2],
        "model.hidden": LONG[:2],
    },
}


@pytest.mark.parametrize("sweep", SWEEPS)
def test_no_label_is_cut_off_and_none_overlaps_its_neighbour(sweep: str) -> None:
    training = {"epochs": 4, "optimizer": "sgd"} if sweep == "values close together" else {"epochs": 4}
    figures = figures_of(evidence_of(SWEEPS[sweep], training=training))
    for name in ("sweep", "map"):
        assert_labels_apart(draw(name, figures))


def assert_labels_apart(figure: Figure) -> None:
    width, height = figure.canvas.get_width_height()
    texts = shown_texts(figure)
    for text, box in texts:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    for axes in figure.axes:
        if axes.get_visible():
            boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
            for first, second in pairwise(boxes):
                assert first.x1 <= second.x0 + 1 or second.x1 <= first.x0 + 1


def test_a_map_shows_gaps_and_names_with_their_colour() -> None:
    plan = article_plan(seeds=16, norms=("batch", "layer"), sweep={"training.batch_size": [1, 16, 64]})
    finals = {"batch": 0.1 + 0.001 * np.arange(16), "layer": 0.3 + 0.001 * np.arange(16)}
    figures = figures_of(gather(plan, made_outcomes(plan, finals)))
    (drawn,) = figures.maps
    assert [cell.text for cell in drawn.cells[0] if cell] == ["–", "BatchNorm", "BatchNorm"]
    (axes,) = draw("map", figures).axes
    assert [text.get_text() for text in axes.texts] == ["–", "BatchNorm", "BatchNorm"]


def test_a_norm_that_could_not_be_trained_at_a_value_leaves_a_gap_in_its_line() -> None:
    evidence = evidence_of({"training.batch_size": [1, 16, 64]})
    panel = figures_of(evidence).sweeps[0]
    lines = {line.norm: line.median for line in panel.lines}
    assert np.isnan(lines["batch"][0])
    assert np.isfinite(lines["layer"]).all()


def test_values_of_equal_steps_are_those_of_the_evidence() -> None:
    evidence = evidence_of({"training.batch_size": [64, 16]})
    figures = figures_of(evidence)
    (view,), (panel,) = evidence.equal_steps, figures.equal_steps
    assert panel.step == view.step == 4 * 16
    assert panel.values == ("16", "64")
    for item, middle in zip(view.arms, view.medians, strict=True):
        line = next(line for line in panel.lines if line.norm == item.norm)
        place = panel.values.index(str(item.condition.training.batch_size))
        assert line.median[place] == pytest.approx(middle)
    assert not evidence_of({"training.learning_rate": [1e-3, 1e-2]}).equal_steps


def test_what_a_picture_leaves_out_it_says() -> None:
    figures = figures_of(evidence_of({"training.batch_size": [8, 16, 32, 64], "training.learning_rate": [1e-3, 1e-2]}))
    assert "the first 6 of 8" in draw("curves", figures)._supxlabel.get_text().replace("\n", " ")
    assert "first" not in draw("map", figures)._supxlabel.get_text()


def test_the_published_chart_is_of_one_condition() -> None:
    chart = figures_of(evidence_of({"training.batch_size": [1, 16]})).published
    assert chart is not None
    assert {len(line.steps) for line in chart.lines} == {4 * 63}, "batch norm cannot be trained on single samples"


def test_several_tasks_are_rows_of_a_map_and_never_an_axis() -> None:
    sweep = {"training.batch_size": [16, 64]}
    figures = figures_of(evidence_of(sweep, tasks=["article", "digits"]))
    (drawn,) = figures.maps
    assert (drawn.x, drawn.y, drawn.rows) == ("training.batch_size", "task", ("article", "digits"))
    assert {panel.path for panel in figures.sweeps} == {"training.batch_size"}
    assert {panel.title for panel in figures.sweeps} == {"task article", "task digits"}


def test_dollars_in_a_title_are_no_formula(tmp_path: Path) -> None:
    evidence = evidence_of({"training.batch_size": [16, 64]}, title="$a$ or $\\frac$")
    assert write_report(evidence, tmp_path)


def test_a_value_is_folded_behind_its_hyphens() -> None:
    assert folded("100-100-100-100-100", 8) == "100-100-\n100-100-\n100"
    assert folded("0.001") == "0.001"
    with pytest.raises(InputError, match="sweep needs runs at several values"):
        draw("sweep", figures_of(evidence_of({})))


@pytest.mark.slow
def test_a_page_of_200_conditions_is_an_overview_and_what_a_reader_picks(tmp_path: Path) -> None:
    sweep = {
        "training.batch_size": [16, 32, 64, 128, 256],
        "training.learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
        "model.hidden": [[20] * depth for depth in range(1, 9)],
    }
    evidence = evidence_of(sweep, seeds=2)
    write_report(evidence, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader(page)
    assert len(page) < 10_000_000
    assert len(reader.text) < 40_000, "one condition at a time"
    assert len(json.loads(reader.unpacked("conditions"))) == len(evidence.advice) == 200
    links = [reference for reference in reader.references if reference.startswith("#condition-")]
    assert sorted(links) == sorted(f"#condition-{n + 1}" for n in range(200))
    said = whole_text(page)
    assert said.count("trained for 4 epochs") >= 200
    for path in tmp_path.glob("*.png"):
        assert matplotlib.image.imread(io.BytesIO(path.read_bytes())).shape[0] < 6000


PICK = """
  const sentence = () => document.querySelector('[data-view="answer"] .sentence').textContent;
  seen.linked = sentence();
  document.querySelector('table.map a[href="#condition-3"]').click();
  await pause(300);
  seen.clicked = [sentence(), document.getElementById("pick").selectedIndex, place.data[0].x.length > 0, location.hash];
  change(document.getElementById("pick"), "selectedIndex", 0);
  await pause(100);
  seen.picked = [sentence(), location.hash];
  const view = document.querySelector('[data-for="sweep"] .view');
  seen.views = [...view.options].map((option) => option.value);
  seen.others = getComputedStyle(document.querySelector('[data-for="sweep"] .others')).display;
  change(view, "value", "equal steps");
  await pause(100);
  seen.axis = document.getElementById("chart-sweep").layout.xaxis.title.text;
  seen.rows = rows().length;
  seen.wide = document.documentElement.scrollWidth > window.innerWidth;
"""


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("size", ["1440,1000", "500,900"])
def test_a_condition_is_picked_by_its_address_by_the_map_and_by_the_list(tmp_path: Path, size: str) -> None:
    evidence = evidence_of({"training.batch_size": [16, 64, 256]})
    write_report(evidence, tmp_path)
    _, seen = browsed(tmp_path / "report.html", PICK, fragment="condition-2", size=size)
    assert "batch size 64" in seen["linked"]
    assert "batch size 256" in seen["clicked"][0]
    assert seen["clicked"][1:] == [2, True, "#condition-3"]
    assert "batch size 16" in seen["picked"][0]
    assert seen["picked"][1] == "#condition-1"
    assert seen["views"] == ["equal epochs (at the end)", "equal steps"]
    assert seen["others"] == "none", "no other field is swept"
    assert seen["axis"] == "batch size, after 16 steps"
    assert seen["rows"] == len(evidence.comparisons) / 3
    assert not seen["wide"], "the page does not scroll sideways"
