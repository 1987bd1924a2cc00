"""The documents hold: links lead somewhere, commands and options exist, names are known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from normlab.claims.catalog import CLAIMS
from normlab.cli.app import app
from normlab.norms.catalog import NORMS
from normlab.study.library import NAMES

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(document: Path) -> None:
    commands = get_command(app).commands
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", document.read_text(encoding="utf-8"), flags=re.M | re.S))
    for line in re.findall(r"^normlab (.+)$", blocks, flags=re.M):
        words = line.split("#")[0].split()
        if words[0].startswith("-"):
            continue
        assert words[0] in commands, line
        known = {option for parameter in commands[words[0]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


def test_the_guide_covers_everything_in_the_catalogues() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    for name in [*(spec.name for spec in NORMS), *NAMES, *(claim.id for claim in CLAIMS)]:
        assert f"`{name}`" in guide, name


def test_the_guide_lists_every_exception_of_a_norm_with_its_reason() -> None:
    rows = [line for line in (ROOT / "docs" / "guide.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    for spec in NORMS:
        for what, reason in spec.exceptions.items():
            assert any(f"`{spec.name}`" in row and f"| {what} | {reason} |" in row for row in rows), (spec.name, what)
