"""The documents hold: links lead somewhere, commands can be run, names are known, code is that of the examples."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from normlab import Study, Training, resolve
from normlab.claims.catalog import CLAIMS
from normlab.cli.app import app
from normlab.cli.assignments import assignment, swept
from normlab.cli.commands import Group
from normlab.engine.choose import ENGINES
from normlab.norms.catalog import NORMS
from normlab.probes.catalog import PROBES
from normlab.study.library import NAMES, load_study
from normlab.tasks.catalog import TASKS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [*ROOT.glob("*.md"), *DOCS.glob("*.md")]
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; the empty one for commands."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.M | re.S) if name == language]


def anchors(text: str) -> set[str]:
    """What links into a page may name: its headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page: str) -> list[list[str]]:
    """The rows of all tables of a page of the guide, cell by cell."""
    lines = text_of(DOCS / page).splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]


@every_document
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text_of(document)):
        page = document.parent / target if target else document
        assert page.exists(), target
        assert not anchor or anchor in anchors(text_of(page)), f"{target}#{anchor}"


@every_document
def test_commands_and_their_options_exist(document: Path) -> None:
    for line in re.findall(r"^normlab (.+)$", "\n".join(blocks(text_of(document), "")), flags=re.M):
        words = line.split("#")[0].split()
        command = get_command(app)
        while isinstance(command, Group) and words and not words[0].startswith("-"):
            assert words[0] in command.commands or command.invoke_without_command, line
            if words[0] not in command.commands:
                break
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        completion = {"--help", "--install-completion"}
        assert {word for word in words if word.startswith("--")} <= known | completion, line


def changes_of(words: list[str]) -> dict[str, Any]:
    """What the flags of a `normlab run` change in its study."""
    paths = {"--batch-size": "training.batch_size", "--epochs": "training.epochs", "--seeds": "seeds"}
    changes: dict[str, Any] = {}
    for flag, value in itertools.pairwise(words):
        if flag in {"--norm", "--task"}:
            changes.setdefault(f"{flag[2:]}s", []).append(value)
        elif flag in paths:
            changes[paths[flag]] = int(value)
        elif flag == "--set":
            changes |= [assignment(value)]
        elif flag == "--sweep":
            field, values = swept(value)
            changes[f"sweep.{field}"] = values
    return changes


@every_document
def test_studies_that_commands_run_are_valid(document: Path) -> None:
    for line in re.findall(r"^normlab run (.+)$", "\n".join(blocks(text_of(document), "")), flags=re.M):
        name, *words = shlex.split(line.split("#")[0])
        changes = changes_of(words)
        if name in NAMES and not any("own_" in norm for norm in changes.get("norms", [])):
            plan = resolve(load_study(name, changes))
            assert {str(norm) for norm in plan.study.norms} == {arm.norm for arm in plan.arms}, line


def test_every_page_of_the_guide_is_in_its_contents() -> None:
    for page in DOCS.glob("*.md"):
        assert page.name == "guide.md" or f"({page.name})" in text_of(DOCS / "guide.md"), page.name


def test_the_pages_cover_everything_in_the_catalogues() -> None:
    covered = {
        "norms.md": [spec.name for spec in NORMS],
        "tasks.md": [task.name for task in TASKS],
        "claims.md": [claim.id for claim in CLAIMS],
        "studies.md": [*(probe.name for probe in PROBES), *(engine.name for engine in ENGINES), *Training.model_fields],
    }
    for page, names in covered.items():
        assert [name for name in names if f"`{name}`" not in text_of(DOCS / page)] == [], page
    named_after = {name.removesuffix("-once") for name in NAMES}
    assert named_after <= {task.name for task in TASKS}, "each built-in study is named after its task"


def test_the_table_of_tasks_has_the_baselines_of_the_catalogue() -> None:
    cells = {name: row for row in rows("tasks.md") if len(row) == 5 for name in re.findall(r"`([\w-]+)`", row[0])}
    for task in TASKS:
        assert task.baseline is not None
        (nothing,) = task.baseline.values()
        assert f"{nothing:g}" in cells[task.name][4].split(), task.name


def test_the_table_of_options_has_the_options_and_roles_of_the_catalogue() -> None:
    cells = {name: row for row in rows("tasks.md") if len(row) == 3 for name in re.findall(r"`([\w-]+)`", row[0])}
    for task in TASKS:
        _, options, roles = cells[task.name]
        slots = task.slots_of(task.options)
        assert set(re.findall(r"`([\w-]+)`", roles)) == {slot.role for slot in slots}, task.name
        optional = {slot.role for slot in slots if slot.optional}
        assert set(re.findall(r"\(`([\w-]+)`\)", roles)) == optional, task.name
        if "the same" not in options:
            assert [name for name in type(task.options).model_fields if f"`{name}`" not in options] == [], task.name


def test_what_the_guide_says_engines_can_do_is_what_they_list() -> None:
    fused, *others = ENGINES
    assert fused.features.training["optimizer"] == {"adam", "adamw", "sgd"}
    advanced = {"schedule", "warmup", "clip_norm", "trainable", "accumulation", "label_smoothing"}
    assert not advanced & set(fused.features.training)
    assert all(advanced <= set(engine.features.training) for engine in others)
    assert {"label_noise", "weight_decay", "momentum", "dtype"} <= set(fused.features.training)
    assert [engine.name for engine in ENGINES if engine.features.probes is not None] == ["fused"]
    assert all({"model", "closeup"} <= engine.features.needs for engine in others)


def test_the_guide_lists_every_exception_of_a_norm_with_its_reason() -> None:
    lines = [line for line in text_of(DOCS / "norms.md").splitlines() if "|" in line]
    for spec in NORMS:
        for what, reason in spec.exceptions.items():
            assert any(f"`{spec.name}`" in line and f"| {what} | {reason} |" in line for line in lines), (
                spec.name,
                what,
            )


def test_code_in_the_page_on_extending_is_that_of_the_examples() -> None:
    page = text_of(DOCS / "extending.md")
    shown = {block.rstrip() for language in ("python", "toml") for block in blocks(page, language)}
    for file in (ROOT / "examples").glob("own_*"):
        assert text_of(file).rstrip() in shown, f"{file.name} is not shown as it is"


@every_document
def test_tables_of_studies_in_documents_are_read(document: Path) -> None:
    for block in blocks(text_of(document), "toml"):
        content = tomllib.loads(block)
        Study(**{"name": "shown", "norms": ["batch"], "tasks": ["digits"], **content})
