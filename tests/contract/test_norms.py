"""Every norm of the catalogue does what its entry says: formula, coupling axes, train against eval."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normlab.norms.catalog import NORMS, parse
from normlab.norms.spec import Norm
from normlab.records import Slot

SIZES = {"N": 4, "C": 6, "L": 3, "H": 3, "W": 2, "D": 2}
NORM_TEXTS = {spec.name: "group:groups=3" if spec.name == "group" else spec.name for spec in NORMS}
CASES = [
    pytest.param(parse(NORM_TEXTS[spec.name]), layout, id=f"{spec.name}-{layout}")
    for spec in NORMS
    for layout in spec.axes
    if parse(NORM_TEXTS[spec.name]).emptiness(Slot(6, layout, (3,) * (len(layout) - 2)), 4) is None
]


def slot_of(layout: str) -> Slot:
    return Slot(SIZES["C"], layout, tuple(SIZES[axis] for axis in layout if axis not in "NC"))


def some_input(layout: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = [SIZES[axis] for axis in layout]
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1


def by_hand(norm: Norm, layout: str, x: np.ndarray) -> np.ndarray:
    """The formula over the axes that the entry declares, in NumPy."""
    axes = norm.spec.axes[layout]
    if norm.spec.name == "dyt":
        return np.tanh(norm.options["alpha"] * x)
    if not (norm.spec.centred or norm.spec.scaled):
        return x
    shape, x = x.shape, x
    names = list(layout)
    if "C/G" in axes:
        groups = int(norm.options["groups"])
        place = layout.index("C")
        x = x.reshape(*shape[:place], groups, shape[place] // groups, *shape[place + 1 :])
        names[place : place + 1] = ["G", "C/G"]
    over = tuple(names.index(axis) for axis in axes)
    centre = x.mean(axis=over, keepdims=True) if norm.spec.centred else 0.0
    spread = ((x - centre) ** 2).mean(axis=over, keepdims=True)
    eps = norm.options["eps"] or np.finfo(np.float64).eps
    return ((x - centre) / np.sqrt(spread + eps)).reshape(shape)


@pytest.mark.parametrize(("norm", "layout"), CASES)
def test_it_computes_its_formula_over_its_axes(norm: Norm, layout: str) -> None:
    x = some_input(layout)
    layer = norm.build(slot_of(layout)).double().train()
    np.testing.assert_allclose(layer(x).detach().numpy(), by_hand(norm, layout, x.numpy()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("norm", "layout"), CASES)
def test_one_element_moves_exactly_those_that_share_its_statistic(norm: Norm, layout: str) -> None:
    x = some_input(layout)
    layer = norm.build(slot_of(layout)).double().train()
    moved = x.clone()
    first = (0,) * x.dim()
    moved[first] += 0.37
    changed = (layer(moved) - layer(x)).detach().abs().numpy() > 1e-9
    sharing = np.zeros(x.shape, dtype=bool)
    axes = norm.spec.axes[layout]
    index = [slice(None) if axis in axes else slice(0, 1) for axis in layout]
    if "C/G" in axes:
        index[layout.index("C")] = slice(0, SIZES["C"] // int(norm.options["groups"]))
    sharing[tuple(index)] = True
    assert np.array_equal(changed, sharing)


@pytest.mark.parametrize(("norm", "layout"), CASES)
def test_in_evaluation_no_sample_depends_on_the_others(norm: Norm, layout: str) -> None:
    x = some_input(layout)
    layer = norm.build(slot_of(layout)).double()
    layer.train()(x)
    layer.eval()
    alone = torch.cat([layer(x[index : index + 1]) for index in range(len(x))])
    torch.testing.assert_close(layer(x), alone)
    coupled = norm.spec.couples_batch
    together = layer.train()(x)
    assert coupled == (not torch.allclose(together, alone))


@pytest.mark.parametrize("spec", NORMS, ids=lambda spec: spec.name)
def test_the_entry_is_complete(spec) -> None:
    assert all([spec.title, spec.formula, spec.source, spec.train, spec.evaluate, spec.suits, spec.breaks])
    layer = parse(NORM_TEXTS[spec.name]).build(slot_of(list(spec.axes)[-1]))
    assert bool(list(layer.buffers())) == (spec.state != "none")
    assert bool(list(layer.parameters())) == (spec.affine != "none" and not spec.affine.startswith("none by default"))
