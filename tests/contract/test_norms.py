"""Every norm of the catalogue does what its entry says: formula, buffers, axes, invariances, train against eval."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from norm_cases import (
    CASES,
    CHOSEN,
    SIZES,
    TEXTS,
    WITH_OPTIONS,
    WITH_VARIANTS,
    arrays,
    built,
    by_formula,
    slot_of,
    some_input,
)
from normlab.norms import reestimate
from normlab.norms.catalog import NORMS, parse
from normlab.norms.spec import Invariance, Norm, NormSpec
from oracles import normalized_weight, spectral_weight, standardized_weight

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-6, torch.float16: 6e-4, torch.bfloat16: 5e-3}
COARSER = {"instance", "dyt", "derf"}  # torch's kernel, and elementwise maps that stay in the type of their input


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS + WITH_OPTIONS)
def test_it_computes_its_formula(norm: Norm, layout: str, dtype: torch.dtype) -> None:
    x = some_input(layout).to(dtype)
    layer = built(norm, layout).to(dtype)
    expected, _ = by_formula(norm, layer, layout, x)
    result = layer(x)
    assert result.dtype == dtype
    scale = np.abs(expected).max()
    error = np.abs(result.detach().double().numpy() - expected).max()
    allowed = TOLERANCE[dtype] * (2 if norm.spec.name in COARSER else 1)
    assert error <= allowed * scale, error / scale


@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS + WITH_OPTIONS)
def test_buffers_after_one_and_five_steps_and_evaluation_with_them(norm: Norm, layout: str) -> None:
    layer = built(norm, layout)
    state = arrays(dict(layer.named_buffers()))
    for step in range(5):
        x = some_input(layout, seed=step)
        _, state = by_formula(norm, layer, layout, x, state=state)
        layer(x)
        if step in (0, 4):
            for name, buffer in layer.named_buffers():
                np.testing.assert_allclose(buffer.numpy(), state[name], rtol=1e-12, err_msg=f"{name}, step {step}")
    x = some_input(layout, seed=9)
    expected, _ = by_formula(norm, layer, layout, x, training=False, state=state)
    np.testing.assert_allclose(layer.eval()(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    assert all(
        np.array_equal(buffer.numpy(), arrays(dict(layer.named_buffers()))[name])
        for name, buffer in layer.named_buffers()
    ), "evaluation moves no buffer"


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_gradients_are_those_of_finite_differences(norm: Norm, layout: str, training: bool) -> None:
    x = some_input(layout).requires_grad_()
    layer = built(norm, layout)
    layer(some_input(layout, seed=5))
    layer.train(training)
    parameters = tuple(layer.parameters())
    names = [name for name, _ in layer.named_parameters()]
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}

    def apply(x: Tensor, *values: Tensor) -> Tensor:
        fresh = {name: buffer.clone() for name, buffer in buffers.items()}
        return torch.func.functional_call(layer, {**dict(zip(names, values, strict=True)), **fresh}, (x,))

    seen = torch.autograd.gradcheck(apply, (x, *parameters), eps=1e-6, atol=1e-6, rtol=1e-5, fast_mode=True)
    assert seen, "along random directions, which a wrong entry of the Jacobian moves"


def sharing(norm: Norm, layout: str, *, training: bool) -> np.ndarray:
    """Which elements share a statistic with the first one, by the axes that the entry declares, itself included.

    In evaluation the statistics over the batch are constants, and those of each sample are left.
    """
    sizes = {axis: SIZES[axis] for axis in layout}
    places = dict(zip(layout, np.indices(tuple(sizes.values())), strict=True))
    shared = sum(places.values()) == 0
    for axes in norm.spec.sets(layout):
        if any(axis.startswith("N") for axis in axes) and not training:
            continue
        within = np.ones_like(shared)
        for axis in set(layout) - set("".join(axes)):
            within &= places[axis] == 0
        for axis in axes:
            whole, _, part = axis.partition("/")
            length = prod(sizes[letter] for letter in whole)
            limit = {"": length, "S": norm.options.get("size"), "G": length // norm.options.get("groups", 1)}[part]
            flat = np.ravel_multi_index([places[letter] for letter in whole], [sizes[letter] for letter in whole])
            within &= flat < limit
        shared |= within
    return shared


PARTED = ["ghost:size=2", "batch-group:groups=9", "batch-group:groups=4", "group:groups=3"]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("norm", "layout"), CASES + [pytest.param(parse(text), "NCHW", id=text) for text in PARTED])
def test_one_element_moves_exactly_those_that_share_its_statistic(norm: Norm, layout: str, training: bool) -> None:
    """Of several inputs none moves another element, and together they move all: a maximum hides some each time."""
    layer = built(norm, layout).train(training)
    expected = sharing(norm, layout, training=training)
    changed = np.zeros_like(expected)
    for seed in range(200):
        x = some_input(layout, seed)
        moved = x.clone()
        moved[(0,) * x.dim()] += 0.37
        changed |= (layer(moved) - layer(x)).detach().abs().numpy() > 1e-9
        if seed > 10 and np.array_equal(changed, expected):
            return
    assert np.array_equal(changed, expected)


def test_chunks_of_a_ghost_batch_do_not_share_statistics() -> None:
    x = some_input("NC")
    moved = x.clone()
    moved[0, 0] += 0.37
    layer = built(parse("ghost:size=2"), "NC")
    changed = (layer(moved) - layer(x)).abs() > 1e-9
    assert changed.nonzero().tolist() == [[0, 0], [1, 0]]


CHANGES: dict[Invariance, tuple[str, str]] = {
    "scale": ("", "*"),
    "shift": ("", "+"),
    "channel scale": ("C", "*"),
    "channel shift": ("C", "+"),
    "sample scale": ("N", "*"),
    "sample shift": ("N", "+"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("norm", "layout"), CASES)
def test_declared_invariances_hold_and_others_do_not(norm: Norm, layout: str, change: Invariance) -> None:
    axis, operation = CHANGES[change]
    x = some_input(layout)
    shape = [SIZES[name] if name == axis else 1 for name in layout]
    values = torch.linspace(1.3, 3.1, prod(shape), dtype=torch.float64).view(shape)
    layer = built(norm, layout, seed=None)
    with torch.no_grad():
        before, after = layer(x), layer(x * values if operation == "*" else x + values)
    distance = float((after - before).abs().max() / before.abs().max())
    if change in norm.spec.invariances:
        assert distance < 2e-3
    else:
        assert distance > 1e-2


@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_no_sample_depends_on_the_others_except_in_training_where_declared(norm: Norm, layout: str) -> None:
    x = some_input(layout)
    layer = built(norm, layout)
    layer(x)
    layer.eval()
    alone = torch.cat([layer(x[index : index + 1]) for index in range(len(x))])
    torch.testing.assert_close(layer(x), alone)
    layer.train()
    if norm.spec.couples_batch:
        assert not torch.allclose(layer(x), alone)
    else:
        one_by_one = torch.cat([layer(x[index : index + 1]) for index in range(len(x))])
        torch.testing.assert_close(layer(x), one_by_one)


@pytest.mark.parametrize("spec", NORMS, ids=lambda spec: spec.name)
def test_the_entry_is_complete(spec: NormSpec) -> None:
    said = [spec.title, spec.formula, spec.source, spec.train, spec.evaluate, spec.suits, spec.breaks]
    said += [spec.initial, spec.defaults, spec.affine, spec.state]
    assert all(said)
    assert set(spec.libraries) <= {"torch", "timm", "flax", "keras", "composer", "opacus"}
    assert spec.degenerate or spec.name in {"none", "bias"}
    arxiv = "arXiv:" in spec.source
    assert arxiv or spec.name in {"none", "bias", "unit"}, "a source is a paper with its arXiv id"


def test_the_page_says_where_other_tools_overlook_that_samples_are_coupled_or_differ() -> None:
    coupling = {spec.name: spec.libraries for spec in NORMS if spec.couples_batch}
    torchs = {"batch", "sync-batch"}  # whose classes validators of private training know
    assert {name for name, libraries in coupling.items() if "opacus" in libraries} == set(coupling) - torchs
    assert len(coupling) - len(torchs) == 7
    assert "ONNX" in coupling["batch"]["torch"]
    assert "update_bn" in coupling["batch"]["torch"]
    assert "divides the momentum" in coupling["ghost"]["composer"]
    assert "variance at 0" in coupling["switchable"]["torch"]


def test_torchs_update_of_running_statistics_leaves_out_the_spread_of_means_as_the_entry_says() -> None:
    batches = [torch.tensor([[1.0], [3.0]]), torch.tensor([[11.0], [13.0]])]
    updated, precise = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    torch.optim.swa_utils.update_bn(batches, updated)
    reestimate(precise, batches)
    assert (updated.running_mean.item(), updated.running_var.item()) == (7, 2)  # unbiased, within each batch
    assert (precise.running_mean.item(), precise.running_var.item()) == (7, 26)  # biased, of all four


@pytest.mark.parametrize(("norm", "layout"), CASES)
def test_parameters_and_buffers_are_those_that_the_entry_counts(norm: Norm, layout: str) -> None:
    layer, slot = norm.build(slot_of(layout)), slot_of(layout)
    if norm.spec.wrap is None:
        found = {name: parameter.numel() for name, parameter in layer.named_parameters()}
        declared = {name: norm.size(symbols, slot) for name, symbols in norm.spec.parameters.items()}
        if norm.spec.name == "frn" and layout == "NC":
            declared["learned_eps"] = 1
        assert found == declared
        buffers = {name: buffer.numel() for name, buffer in layer.named_buffers()}
        assert buffers == {name: norm.size(symbols, slot) for name, symbols in norm.spec.buffers.items()}
    assert bool(norm.spec.buffers) == (norm.spec.state != "none")


def test_every_option_is_tried_away_from_its_default() -> None:
    """And where parameters start: the formulas are given the parameters that the layers have."""
    tried = {
        (parse(text).spec.name, name)
        for text in CHOSEN
        for name, value in parse(text).options.items()
        if value != parse(text.split(":")[0]).options[name]
    }
    by_identity = ("affine", "bias", "cumulative", "track_running_stats", "share")  # in test_modules.py, and variants
    elsewhere = {(spec.name, name) for spec in NORMS for name in by_identity} | {("instance", "momentum")}
    elsewhere |= {(spec.name, option.name) for spec in NORMS if spec.wrap is not None for option in spec.options}
    elsewhere |= {("sync-batch", "eps"), ("sync-batch", "momentum")}  # torch's layer, as batch
    wanted = {(spec.name, option.name) for spec in NORMS for option in spec.options}
    assert wanted - tried - elsewhere == set()
    assert parse("dyt:alpha=0.9").build(slot_of("NC")).alpha.item() == pytest.approx(0.9)
    derf = parse("derf:alpha=0.9,shift=0.3").build(slot_of("NC"))
    assert [derf.alpha.item(), derf.shift.item()] == pytest.approx([0.9, 0.3])


def test_options_of_norms_of_weights_do_what_they_say() -> None:
    torch.manual_seed(0)
    weight = nn.Linear(5, 6).double()
    once, thrice = (nn.Linear(5, 6).double() for _ in range(2))
    for layer, text in ((once, "spectral"), (thrice, "spectral:steps=3")):
        layer.load_state_dict(weight.state_dict())
        torch.manual_seed(1)
        norm = parse(text)
        norm.spec.wrap(layer, norm.options)
        with torch.no_grad():
            layer.parametrizations.weight[0]._u.copy_(nn.functional.normalize(torch.arange(1.0, 7.0).double(), dim=0))
            layer.parametrizations.weight[0]._v.copy_(nn.functional.normalize(torch.ones(5).double(), dim=0))
    for _ in range(3):
        found = once.weight
    torch.testing.assert_close(thrice.weight, found)
    norm = parse("standardized:weight_eps=0.3")
    norm.spec.wrap(weight, norm.options)
    plain = weight.parametrizations.weight.original.detach().numpy()
    np.testing.assert_allclose(weight.weight.detach().numpy(), standardized_weight(plain, 0.3))


@pytest.mark.parametrize("text", ["weight", "standardized"])
def test_outputs_of_a_transposed_convolution_are_on_its_second_axis(text: str) -> None:
    torch.manual_seed(0)
    layer, norm = nn.ConvTranspose2d(3, 4, 2).double(), parse(text)
    norm.spec.wrap(layer, norm.options)
    if text == "weight":
        assert layer.parametrizations.weight.original0.shape == (1, 4, 1, 1)
    else:
        torch.testing.assert_close(layer.weight.mean((0, 2, 3)), torch.zeros(4).double(), atol=1e-12, rtol=0)
        assert layer.weight.var((0, 2, 3), correction=0).min() > 0.9


def test_a_convolution_with_spectral_norm_can_still_stretch_its_input() -> None:
    """By up to the square root of the size of its kernel, as its entry says."""
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(3, 16, 3, padding=1, bias=False).double(), parse("spectral")
    norm.spec.wrap(layer, norm.options)
    for _ in range(300):
        layer.weight  # noqa: B018 (a step of the power iteration)
    layer.eval()
    plan = torch.autograd.functional.jacobian(layer, torch.zeros(1, 3, 6, 6).double()).reshape(16 * 36, 3 * 36)
    assert 1.5 < float(torch.linalg.matrix_norm(plan, 2)) <= 3


WRAPPED = [parse(TEXTS[spec.name]) for spec in NORMS if spec.wrap is not None]
BEFORE = {"linear": lambda: nn.Linear(5, 6), "convolution": lambda: nn.Conv2d(5, 6, 3)}


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize("norm", WRAPPED, ids=str)
def test_norms_of_weights_compute_their_formula_and_count_what_they_add(norm: Norm, kind: str) -> None:
    torch.manual_seed(3)
    layer = BEFORE[kind]().double()
    weight = layer.weight.detach().numpy().copy()
    before = sum(parameter.numel() for parameter in layer.parameters())
    norm.spec.wrap(layer, norm.options)
    if norm.spec.name == "weight":
        learned = layer.parametrizations.weight
        with torch.no_grad():
            learned.original0 += 0.3
        expected = normalized_weight(learned.original1.detach().numpy(), learned.original0.detach().numpy())
    elif norm.spec.name == "spectral":
        for _ in range(500):
            layer.weight  # noqa: B018 (reading it makes a step of the power iteration)
        expected = spectral_weight(weight)
    else:
        expected = standardized_weight(weight, norm.options["weight_eps"])
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-7, atol=1e-10)
    added = sum(parameter.numel() for parameter in layer.parameters()) - before
    own = {"original0"} & set(norm.spec.parameters)
    assert added == 6 * len(own)
    sizes = {"C": 6, "F": weight[0].size}
    buffers = {name.rpartition(".")[2]: buffer.numel() for name, buffer in layer.named_buffers()}
    assert buffers == {name: sizes[symbol] for name, symbol in norm.spec.buffers.items()}
    names = [name for name, _ in layer.named_parameters() if "weight" in name]
    layer.eval()  # no step of the power iteration, which a difference would follow

    class Reader(nn.Module):
        """Gives the weight of the wrapped layer, as a function of what is learned in its place."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self) -> Tensor:
            return self.layer.weight

    reader = Reader()
    learned = tuple(layer.get_parameter(name) for name in names)
    assert torch.autograd.gradcheck(
        lambda *values: torch.func.functional_call(
            reader, {f"layer.{name}": value for name, value in zip(names, values, strict=True)}, ()
        ),
        learned,
    )
