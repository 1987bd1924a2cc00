"""Pictures and the page: they show the evidence's numbers, hold up offline, and escape what users write."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from normlab.report.evidence import Evidence, gather

from normlab.figures.style import looks
from normlab.plan import Plan
from normlab.report.page import render
from normlab.report.pictures import FIGURES, as_png
from normlab.report.summary import summarize_evidence, to_json
from normlab.report.write import write_report
from synthetic import article_plan, diverged, falling, made_outcome

VOID = {"meta", "img", "input", "br", "link"}
NORMS = ("none", "batch", "layer", "group:groups=5")


def evidence_of(plan: Plan, broken: tuple[str, ...] = ()) -> Evidence:
    outcomes = []
    for cohort in plan.cohorts:
        for run in cohort.runs():
            dice = np.random.default_rng((run.seed, NORMS.index(run.norm)))
            final = 0.05 * (1 + NORMS.index(run.norm)) * np.exp(0.05 * dice.standard_normal())
            whole = made_outcome(run, falling(final), {"sampling": 0.01 * dice.standard_normal(64)})
            outcomes.append(diverged(run) if run.norm in broken else whole)
    return gather(plan, outcomes)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return evidence_of(article_plan(seeds=20, norms=NORMS))


def page_of(evidence: Evidence) -> str:
    drawn = {name: make(evidence) for name, make in FIGURES.items()}
    return render(evidence, {name: as_png(figure) for name, figure in drawn.items() if figure})


@pytest.fixture(scope="module")
def page(evidence: Evidence) -> str:
    return page_of(evidence)


class Reader(HTMLParser):
    """Collects text, references and embedded data, and checks that elements are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.references: list[str] = []
        self.text = ""
        self.data: dict[str, str] = {}
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.references += [value for name, value in given.items() if name in {"src", "href"} and value]
        if tag == "img":
            assert given["alt"]
        if tag not in VOID:
            self.open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.open.pop()
        assert opened == tag

    def handle_data(self, data: str) -> None:
        tag, given = self.open[-1] if self.open else ("", {})
        if tag == "script" and "id" in given:
            self.data[str(given["id"])] = data
        elif tag not in {"script", "style"}:
            self.text += data


def test_the_page_is_whole_and_needs_no_network(page: str) -> None:
    reader = Reader(page)
    assert all(reference.startswith("data:image/png;base64,") for reference in reader.references)
    outside = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.S)
    assert "http://" not in outside
    assert "https://" not in outside
    assert len(page) < 6_000_000
    bundle = gzip.decompress(base64.b64decode(reader.data["plotly"]))
    assert b"Plotly" in bundle


def test_the_page_says_what_the_evidence_says(page: str, evidence: Evidence) -> None:
    text = " ".join(Reader(page).text.split())
    assert evidence.advice[0].sentence in text
    for finding in evidence.findings:
        assert finding.claim.statement in text
        assert all(part.figures in text for part in finding.parts)
    for look in looks(NORMS).values():
        assert look.label in text
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


def test_the_charts_hold_the_bands_of_the_evidence(page: str, evidence: Evidence) -> None:
    charts = json.loads(Reader(page).data["charts"])
    for name in ("canonical", "training", "test"):
        drawn = {band["norm"]: band for band in charts["curves"][0][name]}
        for band in getattr(evidence.curves[0], name):
            assert drawn[band.norm]["steps"] == band.steps.tolist()
            np.testing.assert_allclose(drawn[band.norm]["median"], band.median, rtol=1e-3)
            np.testing.assert_allclose(drawn[band.norm]["high"], band.high, rtol=1e-3)
    shares = {(share["norm"], share["source"]): share for share in charts["noise"][0]["shares"]}
    for share in evidence.noise[0].shares:
        np.testing.assert_allclose(
            shares[share.norm, share.source]["deviation"], share.deviation, rtol=1e-3, atol=1e-12
        )


def test_bands_are_quantiles_over_seeds(evidence: Evidence) -> None:
    group = evidence.groups[1]
    band = evidence.curves[0].canonical[1]
    values = np.stack([outcome.series["canonical_loss"].values for outcome in group.outcomes.values()])
    np.testing.assert_allclose(band.low, np.quantile(values, 0.05, axis=0))
    np.testing.assert_allclose(band.median, np.median(values, axis=0))


def test_what_a_user_writes_is_escaped() -> None:
    plan = article_plan(seeds=1, norms=("batch", "layer"), title="<script>alert(1)</script> & co")
    page = page_of(evidence_of(plan))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    Reader(page)


def test_the_published_chart_is_drawn_to_the_letter(evidence: Evidence) -> None:
    (axes,) = FIGURES["article"](evidence).axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (
        "Normalization Techniques Comparison",
        "Iteration",
        "Loss",
    )
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["batch norm", "layer norm", "group norm"]
    assert [line.get_color() for line in axes.lines] == ["tab:blue", "tab:orange", "tab:green"]
    for line, group in zip(axes.lines, evidence.groups[1:], strict=True):
        assert np.array_equal(line.get_ydata(), group.outcomes[0].series["training_loss"].values)


def test_curves_are_drawn_with_colour_dash_and_marker(evidence: Evidence) -> None:
    left, right = FIGURES["curves"](evidence).axes
    for axes in (left, right):
        assert axes.get_yscale() == "log"
        looks_drawn = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}
        assert len({color for color, _, _ in looks_drawn}) == len({marker for *_, marker in looks_drawn}) == 4
    assert np.array_equal(left.lines[1].get_ydata(), evidence.curves[0].canonical[1].median)


def test_no_two_norms_look_the_same() -> None:
    norms = ["none", "batch", "layer", "rms", "instance", *(f"group:groups={n}" for n in (1, 2, 5, 10, 25, 50))]
    found = looks(norms)
    assert len({(look.color, look.dash) for look in found.values()}) == len(norms)
    own = [found[norm] for norm in norms[:6]]
    assert len({look.pattern for look in own}) == len({look.marker for look in own}) == len(own)


def test_bars_are_told_apart_without_colour(evidence: Evidence) -> None:
    (axes,) = FIGURES["noise"](evidence).axes
    assert len({bar.get_hatch() for bar in axes.patches}) == len(NORMS)
    named = [text.get_text() for text in axes.texts]
    assert all(sum(look.label in text for text in named) == 4 for look in looks(NORMS).values())


def test_the_page_says_how_to_repeat_it_and_which_engine_trained_what(page: str) -> None:
    text = " ".join(Reader(page).text.split())
    assert "normlab run study.toml --engine none" in text
    for label_ in ("effect", "verdict", "test loss"):
        assert f'data-label="{label_}"' in page, "cells name themselves where a phone shows cards"


SPECIAL = {
    "one norm": {"norms": ("batch",), "seeds": 3},
    "one seed": {"norms": NORMS, "seeds": 1},
    "a sweep": {"norms": ("batch", "layer"), "seeds": 2, "sweep.learning_rate": [10.0**-i for i in range(2, 22)]},
}


@pytest.mark.parametrize("what", SPECIAL)
@pytest.mark.parametrize("broken", [(), ("batch",), NORMS], ids=["sound", "batch diverged", "all diverged"])
def test_special_studies_are_reported_too(what: str, broken: tuple[str, ...], tmp_path: Path) -> None:
    found = evidence_of(article_plan(**{"claims": [], **SPECIAL[what]}), broken)
    files = write_report(found, tmp_path)
    assert {"curves.png", "noise.png", "report.html"} <= {path.name for path in files}
    for path in files:
        if path.suffix == ".png":
            image = matplotlib.image.imread(io.BytesIO(path.read_bytes()))
            assert image.shape[0] < 8000
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    Reader(page)
    assert len(page) < 6_000_000
    assert json.loads(to_json(summarize_evidence(found)))["schema"] == 1


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


USER = """<script>
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
const change = (element, key, value) => { element[key] = value; element.dispatchEvent(new Event("change", { bubbles: true })); };
const rows = () => [...document.querySelectorAll("#comparisons tbody tr")].filter((row) => !row.hidden);
(async () => {
  const seen = {}, place = document.getElementById("chart-curves");
  while (!place._fullData || !document.querySelector("#chart-noise .main-svg")) await pause(50);
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
  document.body.append(Object.assign(document.createElement("pre"), { id: "seen", textContent: JSON.stringify(seen) }));
})();
</script>"""  # noqa: E501


def browsed(page: Path, *options: str) -> str:
    folder = f"--user-data-dir={page.parent / 'browser'}"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    command += ["--disable-background-networking", "--no-first-run", folder, *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Uncaught" not in done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser on this machine")
@pytest.mark.parametrize("size", ["1440,1000", "500,900"])
def test_a_browser_draws_the_charts_and_what_a_user_does_works(evidence: Evidence, tmp_path: Path, size: str) -> None:
    write_report(evidence, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "used.html").write_text(page.replace("</body>", f"{USER}</body>"), encoding="utf-8")
    drawn = browsed(tmp_path / "used.html", f"--window-size={size}")
    assert drawn.count('class="drawn"') == 2
    assert "legendtext" in drawn
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', drawn, re.S)[1]))
    assert (seen["type"], seen["unchecked"]) == ("log", "linear")
    assert all(look.label in seen["hover"] for look in looks(NORMS).values())
    assert set(seen["hidden"]) == {"none"}, "the norm and its band, and no other"
    assert len(seen["hidden"]) == 2
    assert seen["points"] > 20
    assert seen["rows"] == len(evidence.comparisons)
    assert seen["filtered"] == ["test loss"] * 6
    assert seen["sorted"] == sorted(seen["sorted"])
    assert not seen["wide"], "the page does not scroll sideways"
