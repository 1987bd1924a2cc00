"""Every example in a docstring of the statistics is run, and every public function has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import normlab.stats

MODULES = [
    importlib.import_module(f"normlab.stats.{found.name}") for found in pkgutil.iter_modules(normlab.stats.__path__)
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_hold(module):
    assert doctest.testmod(module).failed == 0


SHOWN_BY_TESTS = {"family", "groups", "metrics", "wording"}  # they need the outcomes of whole runs


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_functions_have_examples(module):
    lacking = {
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_") and ">>>" not in (function.__doc__ or "")
    }
    if module.__name__.rpartition(".")[2] not in SHOWN_BY_TESTS:
        assert lacking <= {"finite_rows"}
