"""The ledger: a row for each claim, the same in data, Markdown, page and pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

import normlab
from normlab.claims.catalog import CLAIMS
from normlab.errors import InputError
from normlab.guidance.ledger import Ledger, LedgerRow, Mark, shipped_ledger
from normlab.report.ledger import markdown, page, picture, write_ledger

ROW = LedgerRow(
    id="mine",
    theme="batch size",
    statement="A | B matters",
    source="somebody",
    original="error: 1 and 2 %",
    scale="smaller",
    verdict="supported",
    sentences=("Loss of <A> is below that of B: supported.",),
    marks=(
        Mark("far beyond", "supported", -200.0, None, -90.0),
        Mark("within", "inconclusive", 0.2, -0.5, 0.9),
    ),
    setting="digits",
    seeds=20,
    minutes=1.25,
    command="normlab claims run mine",
    date="2026-01-02",
    version="0.1",
)
LEDGER = Ledger((ROW, replace(ROW, id="other", theme="recurrent nets", verdict="not run", marks=(), minutes=None)))


def test_markdown_has_every_row_under_its_theme_and_no_broken_table() -> None:
    text = markdown(LEDGER)
    assert (
        text.index("## Batch size") < text.index("### mine") < text.index("## Recurrent nets") < text.index("### other")
    )
    assert r"A \| B matters | supported | 20 | 1.2 |" in text
    assert "![Effects and intervals of mine](ledger/mine.svg)" in text
    assert "other.svg" not in text
    assert "error: 1 and 2 %" in text
    assert "2026-01-02, normlab 0.1" in text
    assert "    normlab claims run mine\n" in text


def test_the_page_escapes_what_it_shows_and_holds_its_pictures() -> None:
    drawn = picture(ROW)
    text = page(LEDGER, {"mine": drawn})
    assert "Loss of &lt;A&gt;" in text
    assert text.count("<svg") == 1
    assert "http://www.w3.org/2000/svg" in text
    assert 'href="#batch-size"' in text
    assert 'id="batch-size"' in text


def test_a_picture_is_the_same_every_time_and_is_a_picture() -> None:
    first, second = picture(ROW), picture(ROW)
    assert first == second
    assert ElementTree.fromstring(first).tag.endswith("svg")
    assert b"far beyond" in first
    assert b"within" in first


def test_a_ledger_comes_back_from_its_text() -> None:
    assert Ledger.from_json(LEDGER.to_json()) == LEDGER


def test_the_ledger_of_a_folder_of_claims(tmp_path: Path) -> None:
    claim = normlab.Claim(
        id="own",
        statement="BN starts lower",
        source="a test",
        study={"norms": ["batch", "layer"], "tasks": ["article"], "seeds": 3, "training": {"epochs": 2}},
        hypotheses=(normlab.Comparative("final_loss", "batch", "below", "layer"),),
    )
    study = normlab.Study(
        name="own", norms=["batch", "layer"], tasks=["article"], seeds=3, training={"epochs": 2}, claims=[claim]
    )
    normlab.run(study, tmp_path / "claims" / "own")
    ledger = normlab.ledger(tmp_path / "claims")
    rows = {row.id: row for row in ledger.rows}
    assert set(rows) == {"own", *(item.id for item in CLAIMS)}
    assert rows["own"].verdict == "inconclusive"
    assert rows["own"].seeds == 3
    assert rows["own"].minutes is not None
    assert rows["own"].minutes > 0
    assert {row.verdict for name, row in rows.items() if name != "own"} <= {"not run", "not testable here"}
    (finding,) = normlab.load(tmp_path / "claims" / "own").evidence.findings
    result = finding.parts[0].result
    assert result is not None
    assert result.comparison is not None
    (mark,) = rows["own"].marks
    assert mark.size == pytest.approx(result.comparison.difference / result.comparison.margin)
    (precedent,) = ledger.precedents
    assert (precedent.kind, precedent.batch_size, set(precedent.labels)) == ("perceptron", 64, {"batch", "layer"})
    files = write_ledger(ledger, tmp_path / "out")
    assert {path.name for path in files} >= {"ledger.md", "ledger.html", "ledger.json", "own.svg"}
    assert Ledger.from_json((tmp_path / "out" / "ledger.json").read_text()) == Ledger.from_json(ledger.to_json())


def test_a_folder_without_claims_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="results of claims"):
        normlab.ledger(tmp_path)


def test_the_shipped_ledger_is_the_one_of_the_documents() -> None:
    ledger = shipped_ledger()
    docs = Path(normlab.__file__).parents[2] / "docs"
    assert (docs / "ledger.md").read_text(encoding="utf-8") == markdown(ledger)
    for row in ledger.rows:
        assert bool(row.marks) == (docs / "ledger" / f"{row.id}.svg").exists(), row.id
    assert {row.id for row in ledger.rows} == {claim.id for claim in CLAIMS}
