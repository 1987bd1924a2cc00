"""The page of the doctor lists the rules as they are."""

from __future__ import annotations

from pathlib import Path

from normlab.diagnosis.catalog import RULES

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_the_table_is_the_catalogue() -> None:
    rows = [
        f"| {rule.code} | {rule.severity} | {rule.title} | "
        f"{', '.join(f'`{need}`' for need in rule.needs) or 'nothing'} | {rule.source} |"
        for rule in RULES
    ]
    table = PAGE.read_text(encoding="utf-8").split("## All rules")[1].splitlines()
    assert [line for line in table if line.startswith("| NL")] == rows
