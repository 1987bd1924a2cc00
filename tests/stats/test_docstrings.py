"""Every public function of the statistics has an example in its docstring, which pytest runs with the modules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import normlab.stats

MODULES = [
    importlib.import_module(f"normlab.stats.{found.name}") for found in pkgutil.iter_modules(normlab.stats.__path__)
]


SHOWN_BY_TESTS = {  # they need the outcomes of whole runs
    "arm_results",
    "comparisons",
    "contrasts",
    "courses",
    "formulas",
    "learning",
    "noise",
    "overview",
    "pooled",
    "reach",
    "runs",
    "tuning",
    "views",
}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_functions_have_examples(module):
    lacking = {
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_") and ">>>" not in (function.__doc__ or "")
    }
    if module.__name__.rpartition(".")[2] not in SHOWN_BY_TESTS:
        assert lacking <= {"finite_samples"}
