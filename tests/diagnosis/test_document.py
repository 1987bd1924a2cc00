"""The page of the doctor lists the rules as they are."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import torch

import normlab
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


def words(text: str) -> str:
    """Its words, without figures that hang on the processor."""
    return " ".join(re.sub(r"[\d.]+e-06|0\.04\d", "", text).split())


def test_what_it_says_of_the_small_net_is_shown() -> None:
    block = re.compile(r"```(?:python|text)\n((?:torch\.manual_seed|NL101).*?)```", re.DOTALL)
    code, shown = block.findall(PAGE.read_text(encoding="utf-8"))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {"torch": torch, "nn": torch.nn, "normlab": normlab})
    for part in shown.split("..."):
        assert words(part) in words(said.getvalue())
