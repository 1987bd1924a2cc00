"""Pictures and the page: they show the evidence's numbers, hold up offline, and escape what users write."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from normlab.analysis import Evidence, gather
from normlab.claims.catalog import find_claim
from normlab.errors import InputError
from normlab.figures.gather import Figures
from normlab.figures.style import styles
from normlab.plan import Plan
from normlab.report.page import render
from normlab.report.pictures import draw, pictures
from normlab.report.summary import summarize_evidence, to_json
from normlab.report.write import figures_of, write_report
from normlab.wording.advice import answer_sentence
from normlab.wording.claims import part_figures
from pages import Reader, browsed, needs_browser
from synthetic import article_plan, diverged, falling, made_outcome, points_of

NORMS = ("none", "batch", "layer", "group:groups=5")


LABELS = {
    "none": "Identity (no norm)",
    "batch": "BatchNorm",
    "layer": "LayerNorm",
    "group:groups=5": "GroupNorm (groups=5)",
}


def evidence_of(plan: Plan, broken: tuple[str, ...] = (), claims: tuple[str, ...] = ()) -> Evidence:
    outcomes = []
    for arm in plan.arms:
        for seed in plan.seeds:
            generator = np.random.default_rng((seed, NORMS.index(arm.norm)))
            final = 0.05 * (1 + NORMS.index(arm.norm)) * np.exp(0.05 * generator.standard_normal())
            loss = falling(final, points=points_of(arm.condition))
            noise = 0.01 * generator.standard_normal(len(arm.condition.measure.tail_steps(arm.condition.steps)))
            whole = made_outcome(arm, seed, loss, {"sampling": noise})
            outcomes.append(diverged(arm, seed) if arm.norm in broken else whole)
    return gather(plan, outcomes, [find_claim(claim) for claim in claims])


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return evidence_of(article_plan(seeds=20, norms=NORMS), claims=("article-a", "article-c", "article-d"))


@pytest.fixture(scope="module")
def figures(evidence: Evidence) -> Figures:
    return figures_of(evidence)


def page_of(evidence: Evidence) -> str:
    figures = figures_of(evidence)
    return render(evidence, figures, pictures(figures))


@pytest.fixture(scope="module")
def page(evidence: Evidence) -> str:
    return page_of(evidence)


def test_the_page_is_whole_and_needs_no_network(page: str) -> None:
    reader = Reader(page)
    assert all(reference.startswith("data:image/png;base64,") for reference in reader.references)
    outside = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.S)
    assert "http://" not in outside
    assert "https://" not in outside
    assert len(page) < 6_000_000
    assert b"Plotly" in reader.unpacked("plotly")


def test_the_page_says_what_the_evidence_says(page: str, evidence: Evidence) -> None:
    text = " ".join(Reader(page).text.split())
    assert answer_sentence(evidence.advice[0]) in text
    for finding in evidence.findings:
        assert finding.claim.statement in text
        assert all(" ".join(part_figures(part).split()) in text for part in finding.parts)
    assert all(label in text for label in LABELS.values())
    assert text.count("BatchNorm better") + text.count("Identity (no norm) better") > 5
    assert evidence.plan.study.to_toml().split("\n")[0] in text


def test_the_page_draws_what_shares_a_statistic(page: str) -> None:
    section = page[page.index('<section id="tensors"') :]
    section = section[: section.index("</section>")]
    assert section.count("<svg") == section.count("<title") == section.count("<desc") == len(NORMS)
    assert "C = 50, 5 groups" in section
    assert "all channels of each sample: 50 elements" in section
    assert len(section) < 6_000 * len(NORMS)
    assert len(set(re.findall(r'id="(panel-\d+-title)"', section))) == len(NORMS)


def test_the_charts_hold_the_bands_of_the_evidence(page: str, figures: Figures) -> None:
    charts = json.loads(Reader(page).data["charts"])
    for name in ("canonical", "training", "test"):
        drawn = {band["norm"]: band for band in charts["curves"][0][name]}
        for band in getattr(figures.curves[0], name):
            assert drawn[band.norm]["steps"] == band.steps.tolist()
            np.testing.assert_allclose(drawn[band.norm]["median"], band.median, rtol=1e-3)
            np.testing.assert_allclose(drawn[band.norm]["high"], band.high, rtol=1e-3)
    shares = {(share["norm"], share["source"]): share for share in charts["noise"][0]["shares"]}
    for share in figures.noise[0].shares:
        np.testing.assert_allclose(
            shares[share.norm, share.source]["deviation"], share.deviation, rtol=1e-3, atol=1e-12
        )


def test_bands_are_quantiles_over_seeds(evidence: Evidence, figures: Figures) -> None:
    results = evidence.results[1]
    band = figures.curves[0].canonical[1]
    values = np.stack([outcome.series["canonical_loss"].values for outcome in results.outcomes.values()])
    np.testing.assert_allclose(band.low, np.quantile(values, 0.05, axis=0))
    np.testing.assert_allclose(band.median, np.median(values, axis=0))


def test_what_a_user_writes_is_escaped() -> None:
    plan = article_plan(seeds=1, norms=("batch", "layer"), title="<script>alert(1)</script> & co")
    page = page_of(evidence_of(plan))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    Reader(page)


def test_the_published_chart_is_drawn_to_the_letter(evidence: Evidence, figures: Figures) -> None:
    (axes,) = draw("article", figures).axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (
        "Normalization Techniques Comparison",
        "Iteration",
        "Loss",
    )
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["batch norm", "layer norm", "group norm"]
    assert [line.get_color() for line in axes.lines] == ["tab:blue", "tab:orange", "tab:green"]
    for line, results in zip(axes.lines, evidence.results[1:], strict=True):
        assert np.array_equal(line.get_ydata(), results.outcomes[0].series["training_loss"].values)


def test_curves_are_drawn_with_colour_dash_and_marker(figures: Figures) -> None:
    left, right = draw("curves", figures).axes
    for axes in (left, right):
        assert axes.get_yscale() == "log"
        looks_drawn = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}
        assert len({color for color, _, _ in looks_drawn}) == len({marker for *_, marker in looks_drawn}) == 4
    assert np.array_equal(left.lines[1].get_ydata(), figures.curves[0].canonical[1].median)


def test_no_two_norms_look_the_same() -> None:
    norms = ["none", "batch", "layer", "rms", "instance", *(f"group:groups={n}" for n in (1, 2, 5, 10, 25, 50))]
    seen = styles({norm: norm for norm in norms})
    assert len({(style.color, style.dash) for style in seen.values()}) == len(norms)
    usual = [seen[norm] for norm in norms[:6]]
    assert len({style.pattern for style in usual}) == len({style.marker for style in usual}) == len(usual)


def test_bars_are_told_apart_without_colour(figures: Figures) -> None:
    (axes,) = draw("noise", figures).axes
    assert len({bar.get_hatch() for bar in axes.patches}) == len(NORMS)
    named = [text.get_text() for text in axes.texts]
    assert all(sum(label in text for text in named) == 4 for label in LABELS.values())


def test_dropout_is_drawn_and_said_where_there_is_any(figures: Figures) -> None:
    plan = article_plan(seeds=4, norms=("batch", "layer"))
    term = 0.01 + 0.01 * np.random.default_rng(0).standard_normal(64)
    outcomes = [made_outcome(arm, seed, falling(0.1), {"dropout": term}) for arm in plan.arms for seed in plan.seeds]
    evidence = gather(plan, outcomes)
    rows = [
        [label.get_text() for label in draw("noise", item).axes[0].get_yticklabels()]
        for item in (figures, figures_of(evidence))
    ]
    assert len(rows[0]) == 4
    assert [*rows[0], "dropout"] == rows[1]
    (answer,) = summarize_evidence(evidence)["answer"]
    assert len(answer["noise"]) == 2
    text = " ".join(Reader(page_of(evidence)).text.split())
    assert all(sentence in text for sentence in answer["noise"])


def test_the_page_says_how_to_repeat_it_and_which_engine_trained_what(page: str) -> None:
    text = " ".join(Reader(page).text.split())
    assert "normlab run study.toml --engine none" in text
    for label_ in ("effect", "verdict", "deployed test loss"):
        assert f'data-label="{label_}"' in page, "cells name themselves where a phone shows cards"


SPECIAL = {
    "one norm": {"norms": ("batch",), "seeds": 3},
    "one seed": {"norms": NORMS, "seeds": 1},
    "a sweep": {
        "norms": ("batch", "layer"),
        "seeds": 2,
        "sweep": {"training.learning_rate": [10.0**-i for i in range(2, 22)]},
    },
}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=pytest.mark.slow if what == "a sweep" else ()) for what in SPECIAL]
)
@pytest.mark.parametrize("broken", [(), ("batch",), NORMS], ids=["sound", "batch diverged", "all diverged"])
def test_special_studies_are_reported_too(what: str, broken: tuple[str, ...], tmp_path: Path) -> None:
    evidence = evidence_of(article_plan(**SPECIAL[what]), broken)
    files = write_report(evidence, tmp_path)
    finished = any(item.finished for item in evidence.results)
    drawn = {"curves.png", "noise.png"} if finished else set()
    assert drawn | {"report.html"} == {path.name for path in files} & {"curves.png", "noise.png", "report.html"}
    for path in files:
        if path.suffix == ".png":
            image = matplotlib.image.imread(io.BytesIO(path.read_bytes()))
            assert image.shape[0] < 5000
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    Reader(page)
    assert len(page) < 6_000_000
    assert json.loads(to_json(summarize_evidence(evidence)))["schema"] == 2


@pytest.mark.parametrize(
    ("series", "drawn", "losses"),
    [
        (("training_loss", "canonical_loss", "test_loss"), {"curves"}, ["canonical", "training", "test"]),
        (("training_loss", "test_loss"), {"curves"}, ["training", "test"]),
        (("test_loss",), {"curves"}, ["test"]),
        (("gradient_norm",), set(), []),
    ],
)
def test_what_was_not_measured_is_not_drawn(series: tuple[str, ...], drawn: set[str], losses: list[str]) -> None:
    plan = article_plan(seeds=3, norms=("none", "rms"))
    outcomes = []
    for arm in plan.arms:
        for seed in plan.seeds:
            whole = made_outcome(arm, seed, falling(0.1, points=points_of(arm.condition)))
            outcomes.append(replace(whole, series={name: whole.series[name] for name in series}))
    evidence = gather(plan, outcomes, [])
    figures = figures_of(evidence)
    assert set(pictures(figures)) == drawn
    page = render(evidence, figures, pictures(figures))
    assert "no run finished" not in Reader(page).text
    assert [name for name in ("curves", "noise") if f'<section id="{name}"' in page] == sorted(drawn)
    assert re.findall('<option value="(canonical|training|test)"', page) == losses
    offered = f"Draw {', '.join(drawn)} instead" if drawn else "There are no data for any yet"
    with pytest.raises(InputError, match=offered):
        draw("noise", figures)


USER = """
  seen.type = place.layout.yaxis.type;
  change(document.querySelector(".log"), "checked", false);
  await pause(100);
  seen.unchecked = place.layout.yaxis.type;
  Plotly.Fx.hover(place, { xval: 400 }, "xy");
  await pause(300);
  seen.hover = place.querySelector(".hoverlayer").textContent;
  const toggle = place.querySelector(".legendtoggle");
  ["mousedown", "mouseup"].forEach((kind) => toggle.dispatchEvent(new MouseEvent(kind, { bubbles: true })));
  await pause(1500);
  seen.hidden = place._fullData.filter((trace) => trace.visible === "legendonly").map((trace) => trace.legendgroup);
  change(document.querySelector('[data-for="curves"] .what'), "value", "training");
  await pause(100);
  seen.points = place.data[1].x.length;
  seen.rows = rows().length;
  change(document.getElementById("filter"), "value", "test loss");
  seen.filtered = rows().map((row) => row.dataset.metric);
  document.querySelectorAll("#comparisons thead button")[1].click();
  seen.sorted = rows().map((row) => Number(row.cells[1].dataset.value));
  seen.wide = document.documentElement.scrollWidth > window.innerWidth;
"""


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("size", ["1440,1000", "500,900"])
def test_a_browser_draws_the_charts_and_what_a_user_does_works(evidence: Evidence, tmp_path: Path, size: str) -> None:
    write_report(evidence, tmp_path)
    drawn, seen = browsed(tmp_path / "report.html", USER, size=size)
    assert drawn.count('class="drawn"') == 2
    assert "legendtext" in drawn
    assert (seen["type"], seen["unchecked"]) == ("log", "linear")
    assert all(label in seen["hover"] for label in LABELS.values())
    assert set(seen["hidden"]) == {"none"}, "the norm and its band, and no other"
    assert len(seen["hidden"]) == 2
    assert seen["points"] > 20
    assert seen["rows"] == len(evidence.comparisons)
    assert seen["filtered"] == ["test loss"] * 6
    assert seen["sorted"] == sorted(seen["sorted"])
    assert not seen["wide"], "the page does not scroll sideways"
