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


NEEDS_NONE = {"normlab.stats.family", "normlab.stats.groups", "normlab.stats.metrics", "normlab.stats.wording"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_functions_have_examples(module):
    """Modules that need whole outcomes are shown by tests instead."""
    functions = [
        (name, function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]
    lacking = [name for name, function in functions if ">>>" not in (function.__doc__ or "")]
    allowed = {"finite_rows"} if module.__name__ not in NEEDS_NONE else set(lacking)
    assert set(lacking) <= allowed
