"""The ledger of claims as a page, as Markdown and as pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.analysis import Evidence
from normlab.claims.catalog import CLAIMS
from normlab.claims.finding import ClaimFinding
from normlab.files import make_folder, write_file
from normlab.guidance.ledger import SHIPPED, Ledger, LedgerRow, Mark
from normlab.guidance.precedent import precedents
from normlab.report.canvas import QUIET, make_figure, wrapped
from normlab.wording.language import ENGLISH, Language
from normlab.wording.ledger import ledger_row

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.axes import Axes

COLOURS: Mapping[str, str] = {"supported": "#0072B2", "contradicted": "#D55E00", "inconclusive": "#8A949C"}
FAR = 30.0  # margins from zero at which a picture ends; what lies beyond is an arrow
TICKS = (-30, -10, -3, -1, 0, 1, 3, 10, 30)
PICTURES = "ledger"  # the folder of the pictures beside the pages


@dataclass(frozen=True)
class LedgerFolder:
    """A folder of results as the ledger takes it.

    Arguments:
        evidence: what it says.
        minutes: that its training took; None if unknown.
        date: of its last run.
    """

    evidence: Evidence
    minutes: float | None
    date: str


def make_ledger(folders: Sequence[LedgerFolder], version: str) -> Ledger:
    """The ledger of some folders; every claim of the catalogue has a row, tested or not.

    Arguments:
        folders: those with results; of a claim that several of them test the last one counts.
        version: of normlab.
    """
    tested: dict[str, tuple[LedgerFolder, list[ClaimFinding]]] = {}
    for folder in folders:
        for claim_id, findings in _by_claim(folder.evidence.findings).items():
            tested[claim_id] = folder, findings
    known = {claim.id: claim for claim in CLAIMS}
    known |= {claim_id: findings[0].claim for claim_id, (_, findings) in tested.items()}
    rows = []
    for claim in known.values():
        tested_in, findings = tested.get(claim.id, (None, []))
        minutes, date = (tested_in.minutes, tested_in.date) if tested_in else (None, "")
        rows.append(ledger_row(claim, findings, minutes, date, version))
    themes = list(dict.fromkeys(row.theme for row in rows))
    rows.sort(key=lambda row: themes.index(row.theme))
    seen = (item for folder in folders for item in precedents(folder.evidence, folder.evidence.plan.study.name))
    return Ledger(tuple(rows), tuple(seen))


def _by_claim(findings: Iterable[ClaimFinding]) -> dict[str, list[ClaimFinding]]:
    together: dict[str, list[ClaimFinding]] = {}
    for finding in findings:
        together.setdefault(finding.claim.id, []).append(finding)
    return together


def write_ledger(ledger: Ledger, folder: Path) -> tuple[Path, ...]:
    """Writes ``ledger.md``, ``ledger.html``, ``ledger.json`` and the pictures into a folder; gives the files.

    Raises:
        InputError: the folder cannot be written.
    """
    pictures = {row.id: picture(row) for row in ledger.rows if row.marks}
    files = {f"{PICTURES}/{name}.svg": content for name, content in pictures.items()}
    files |= {
        "ledger.md": markdown(ledger).encode(),
        "ledger.html": page(ledger, pictures).encode(),
        SHIPPED: ledger.to_json().encode(),
    }
    make_folder(folder / PICTURES)
    for name, content in files.items():
        write_file(folder / name, content)
    return tuple(folder / name for name in files)


def markdown(ledger: Ledger, language: Language = ENGLISH) -> str:
    """The ledger as Markdown: an index by theme, then a section for each claim."""
    return str(_environment().get_template("ledger.md.j2").render(**_content(ledger, language)))


def page(ledger: Ledger, pictures: Mapping[str, bytes], language: Language = ENGLISH) -> str:
    """The ledger as one HTML file that opens offline.

    Arguments:
        ledger: the ledger.
        pictures: SVG files by claim.
        language: of the headings.
    """
    drawn = {name: content.decode().partition("<svg")[2] for name, content in pictures.items()}
    template = _environment(escaped=True).get_template("ledger.html.j2")
    inlined = {name: f"<svg{svg}" for name, svg in drawn.items()}
    return str(template.render(**_content(ledger, language), pictures=inlined))


def _content(ledger: Ledger, language: Language) -> dict[str, object]:
    counts = {verdict: sum(row.verdict == verdict for row in ledger.rows) for verdict in _verdicts(ledger)}
    words = {key.removeprefix("ledger."): text for key, text in language.templates.items() if key.startswith("ledger.")}
    return {
        "themes": [(theme, ledger.of_theme(theme)) for theme in ledger.themes],
        "counts": counts,
        "folder": PICTURES,
        "words": words,
        "anchors": {theme: theme.replace(" ", "-").replace(",", "") for theme in ledger.themes},
    }


def _verdicts(ledger: Ledger) -> Iterator[str]:
    yield from dict.fromkeys(row.verdict for row in ledger.rows)


def _environment(escaped: bool = False) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("normlab.report"),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def picture(row: LedgerRow, language: Language = ENGLISH) -> bytes:
    """The effects of a claim's parts with their intervals, in units of what matters, as an SVG file."""
    import matplotlib

    texts = [wrapped(mark.text, 3.9, 8) for mark in row.marks]
    lines = [text.count("\n") + 1 for text in texts]
    places = [sum(lines[: index + 1]) - lines[index] / 2 for index in range(len(lines))]
    figure = make_figure(7.2, 0.55 + 0.16 * sum(lines) + 0.06 * len(lines))
    axes = figure.add_subplot()
    axes.axvspan(-1, 1, color="#eceff2", zorder=0)
    axes.axvline(0, color=QUIET, linewidth=0.8)
    for mark, place in zip(row.marks, places, strict=True):
        _draw(axes, mark, -place)
    axes.set_yticks([-place for place in places], texts, fontsize=8)
    axes.set_ylim(-sum(lines), 0)
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.set_xlim(-FAR, FAR)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel(language.templates["ledger.axis"], fontsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": row.id, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "normlab"})
    return buffer.getvalue()


def _draw(axes: Axes, mark: Mark, height: float) -> None:
    colour = COLOURS.get(mark.verdict, QUIET)
    low, high = (-FAR if mark.low is None else mark.low), (FAR if mark.high is None else mark.high)
    inside = [min(FAR, max(-FAR, value)) for value in (low, high)]
    axes.plot(inside, [height, height], color=colour, linewidth=1.6, solid_capstyle="butt")
    if abs(mark.size) <= FAR:
        axes.plot([mark.size], [height], marker="o", markersize=4.5, color=colour)
    else:
        end = FAR if mark.size > 0 else -FAR
        axes.plot([end * 0.985], [height], marker=">" if end > 0 else "<", markersize=6, color=colour)
