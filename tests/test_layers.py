"""Who may import whom: only from lower layers, imports inside functions and for types counted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import normlab

PACKAGE = Path(normlab.__file__).parent
LAYERS = (
    {"errors"},
    {"seeding", "files", "machine", "record", "reading", "tables", "tensors"},
    {"norms", "training"},
    {"tasks", "recognition"},
    {"probes", "checks", "explanation", "profiling", "surgery", "diagnosis"},
    {"study", "watching"},
    {"recipe"},
    {"plan"},
    {"engine", "store"},
    {"execute"},
    {"comparison"},
    {"stats"},
    {"claims", "advice", "tuning", "deciding"},
    {"analysis"},
    {"figures", "guidance"},
    {"wording"},
    {"report"},
    {"judging", "results"},
    {"job"},
    {"telling"},
    {"api"},
    {"cli"},
    {"__main__"},
)
SIDE = {  # packages beside the flow, which import only these
    "checks": {"norms", "errors", "reading"},
    "explanation": {"norms", "errors", "files", "reading"},
    "profiling": {"norms", "errors", "files", "machine", "reading", "recognition", "tables", "tensors"},
    "recognition": {"norms", "errors", "machine", "reading", "tables", "tensors"},
    "surgery": {"norms", "errors", "files", "reading", "recognition", "tables", "tensors"},
    "diagnosis": {"norms", "errors", "files", "reading", "recognition", "tables", "tensors"},
    "watching": {"errors", "recognition", "diagnosis", "tables", "tensors"},
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The normlab modules that a file imports, and whether it does so inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports must be absolute"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "normlab" else [module]
        yield from ((name, id(node) in inside) for name in names if name.startswith("normlab."))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_only_from_lower_layers(module: Path) -> None:
    own = module.parts[0].removesuffix(".py")
    for name, in_function in imports(PACKAGE / module):
        other = name.split(".")[1]
        assert not in_function, f"{module} imports {name} inside a function"
        assert other == own or LEVEL[other] < LEVEL[own], f"{module} imports {name} from its own or a higher layer"
        assert other == own or other in SIDE.get(own, LEVEL), f"{module} imports {name}"


def test_every_module_has_a_layer() -> None:
    assert {module.parts[0].removesuffix(".py") for module in MODULES} == set(LEVEL)
