"""Templates and the code that fills them belong together: every key is there, every placeholder is used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import normlab
from normlab.errors import InputError
from normlab.wording.language import ENGLISH, LANGUAGES, Language, load_language, placeholders

PACKAGE = Path(normlab.__file__).parent
OWN_TABLES = ("metric.", "meaning.")  # names that metrics bring along in English, and another language may replace
READ = "normlab.wording.language"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = [path for path in SOURCES if path.parent.name == "wording" or READ in path.read_text(encoding="utf-8")]


def calls() -> Iterator[tuple[str, set[str] | None]]:
    """A pattern of the key of each template that is filled or read, and the placeholders that it is given."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr not in {"fill", "counted"} or not node.args:
                    continue
                names = {keyword.arg for keyword in node.keywords}
                fixed = names if None not in names else None  # **values: known when it runs alone
                for key in patterns(node.args[0]):
                    if node.func.attr == "counted":
                        yield rf"{key}\.(one|other)", fixed
                    else:
                        yield key, fixed
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".templates"):
                yield from ((key, set()) for key in patterns(node.slice))


def patterns(node: ast.expr) -> Iterator[str]:
    yield from (pattern for pattern in all_patterns(node) if not pattern.startswith("["))  # of any key at all


def all_patterns(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield re.escape(str(node.value))
    elif isinstance(node, ast.JoinedStr):
        yield "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"[a-z_]+" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from all_patterns(node.body)
        yield from all_patterns(node.orelse)


def constants() -> set[str]:
    """Every text in the modules: keys that are chosen before they are filled."""
    return {
        node.value
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def headings() -> set[str]:
    """The keys that the templates of the ledger read."""
    pages = (PACKAGE / "report" / "templates").glob("ledger.*")
    return {f"ledger.{name}" for page in pages for name in re.findall(r"\bwords\.(\w+)", page.read_text("utf-8"))}


def test_every_key_that_is_filled_is_there_with_its_placeholders() -> None:
    seen = 0
    for pattern, names in calls():
        keys = [key for key in ENGLISH.templates if re.fullmatch(pattern, key)]
        assert keys or pattern.startswith(OWN_TABLES), f"no template {pattern}"
        if names is not None and "[a-z_]+" not in pattern:
            for key in keys:
                plural = {"count"} if key.endswith((".one", ".other")) else set()
                assert placeholders(ENGLISH.templates[key]) - plural == names - plural, key
        seen += len(keys)
    assert seen > 100


def test_every_template_is_used() -> None:
    used = [pattern for pattern, _ in calls()]
    texts = constants() | headings()
    for key in ENGLISH.templates:
        assert key in texts or any(re.fullmatch(pattern, key) for pattern in used), f"{key} is never used"


@pytest.mark.parametrize("name", LANGUAGES)
def test_languages_have_the_same_keys_and_placeholders(name: str) -> None:
    templates = load_language(name).templates
    for key, template in ENGLISH.templates.items():
        if key.endswith(".one"):
            continue  # a language need not have this form
        assert placeholders(templates[key]) == placeholders(template), key
    for key in templates:
        assert key in ENGLISH.templates or key.startswith(OWN_TABLES), key


def test_a_second_language_is_a_second_set_of_templates() -> None:
    chinese = Language("chinese", {**ENGLISH.templates, "count.seed.other": "{count} 个种子", "list.stop": "{text}。"})
    del chinese.templates["count.seed.one"]  # type: ignore[attr-defined]
    assert chinese.counted("count.seed", 1) == "1 个种子"
    assert chinese.sentence("x") == "X。"
    assert chinese.sentence("x。") == "X。"


def test_a_template_is_filled_wholly_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="placeholders"):
        ENGLISH.fill("verdict.better")
    with pytest.raises(ValueError, match="placeholders"):
        ENGLISH.fill("verdict.better", norm="BatchNorm", more=1)
    with pytest.raises(InputError, match="language must be one"):
        load_language("elvish")
