"""The same layers in flax, Keras and timm: equal to ours when their options are set as our entries say they differ.

They are optional (the extra `oracles`); without them these tests are skipped.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from costs.vision import import_torchvision
from norm_cases import slot_of, some_input
from normlab import norms
from normlab.norms.catalog import parse

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras on NumPy 2

CHANNELS_LAST = (0, 2, 3, 1)
CHANNELS_FIRST = (0, 3, 1, 2)


@pytest.fixture(scope="module")
def nnx() -> ModuleType:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("flax.nnx", reason="the extra `oracles` brings flax")


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras", reason="the extra `oracles` brings keras")


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    import_torchvision()
    return pytest.importorskip("timm.layers", reason="the extra `oracles` brings timm")


def inputs(layout: str, seed: int = 1) -> tuple[torch.Tensor, np.ndarray]:
    """Input in our layout, and channels-last for the others."""
    x = some_input(layout, seed).float()
    return x, x.numpy().transpose(CHANNELS_LAST) if layout == "NCHW" else x.numpy()


def ours(text: str, layout: str, x: torch.Tensor) -> np.ndarray:
    """Our output in training mode, channels-last."""
    with torch.no_grad():
        y = parse(text).build(slot_of(layout)).train()(x).numpy()
    return y.transpose(CHANNELS_LAST) if layout == "NCHW" else y


def close(first: np.ndarray, second: np.ndarray) -> None:
    np.testing.assert_allclose(first, second, rtol=2e-4, atol=2e-4)


FLAX: dict[str, tuple[str, str, Callable[[ModuleType, object], object]]] = {
    "layer": ("layer", "NC", lambda nnx, rngs: nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)),
    "layer2d": ("layer2d", "NCHW", lambda nnx, rngs: nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)),
    "layer-chw": (
        "layer-chw",
        "NCHW",
        lambda nnx, rngs: nnx.LayerNorm(6, epsilon=1e-5, reduction_axes=(1, 2, 3), rngs=rngs),
    ),
    "group": ("group:groups=2", "NCHW", lambda nnx, rngs: nnx.GroupNorm(6, num_groups=2, epsilon=1e-5, rngs=rngs)),
    "instance": ("instance", "NCHW", lambda nnx, rngs: nnx.InstanceNorm(6, epsilon=1e-5, rngs=rngs)),
    "rms": ("rms:eps=1e-5", "NCHW", lambda nnx, rngs: nnx.RMSNorm(6, epsilon=1e-5, rngs=rngs)),
    "batch": (
        "batch",
        "NCHW",
        lambda nnx, rngs: nnx.BatchNorm(6, epsilon=1e-5, use_running_average=False, rngs=rngs),
    ),
}


@pytest.mark.parametrize("name", FLAX)
def test_flax_gives_the_same(nnx: ModuleType, name: str) -> None:
    text, layout, make = FLAX[name]
    x, last = inputs(layout)
    close(np.asarray(make(nnx, nnx.Rngs(0))(last)), ours(text, layout, x))


def test_flax_keeps_the_biased_variance_and_counts_momentum_from_the_other_side(nnx: ModuleType) -> None:
    theirs = nnx.BatchNorm(6, momentum=0.9, epsilon=1e-5, use_running_average=False, rngs=nnx.Rngs(0))
    layer = parse("batch:momentum=0.1").build(slot_of("NCHW")).train()
    count = 4 * 3 * 2
    for step in range(5):
        x, last = inputs("NCHW", step)
        layer(x)
        theirs(last)
        if step in (0, 4):
            decayed = 0.9 ** (step + 1)  # what is left of the start, 1, which knows no correction
            close(np.asarray(theirs.mean[...]), layer.running_mean.numpy())
            biased = (layer.running_var.numpy() - decayed) * (count - 1) / count + decayed
            close(np.asarray(theirs.var[...]), biased)


@pytest.mark.parametrize("kind", ["InstanceNorm", "LayerNorm", "GroupNorm"])
def test_flax_loses_a_small_spread_around_a_large_mean_unless_told_otherwise(nnx: ModuleType, kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 8)).astype(np.float32) + 1e4
    sizes = {"num_groups": 2} if kind == "GroupNorm" else {}
    spreads = []
    for fast in (True, False):
        layer = getattr(nnx, kind)(8, use_fast_variance=fast, rngs=nnx.Rngs(0), **sizes)
        spreads.append(float(np.asarray(layer(x)).std()))
    assert abs(spreads[0] - 1) > 0.1
    assert spreads[1] == pytest.approx(1, abs=0.02)


def test_flax_weight_norm_is_ours(nnx: ModuleType) -> None:
    rngs = nnx.Rngs(0)
    theirs = nnx.WeightNorm(nnx.Linear(3, 4, rngs=rngs), rngs=rngs)
    kernel = np.asarray(theirs.layer_instance.kernel[...])
    layer = torch.nn.Linear(3, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel.T.copy()))
        layer.bias.zero_()
    parse("weight").spec.wrap(layer, {})
    with torch.no_grad():
        layer.parametrizations.weight.original0.fill_(1.0)  # flax starts its gain at 1, torch at the length
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    close(np.asarray(theirs(x)), layer(torch.from_numpy(x)).detach().numpy())


KERAS: dict[str, tuple[str, str, Callable[[ModuleType], object]]] = {
    "batch": ("batch:eps=1e-3", "NCHW", lambda keras: keras.layers.BatchNormalization()),
    "layer": ("layer:eps=1e-3", "NC", lambda keras: keras.layers.LayerNormalization()),
    "layer2d": ("layer2d:eps=1e-3", "NCHW", lambda keras: keras.layers.LayerNormalization()),
    "layer-chw": ("layer-chw:eps=1e-3", "NCHW", lambda keras: keras.layers.LayerNormalization(axis=(1, 2, 3))),
    "pono": ("pono:eps=1e-3", "NCHW", lambda keras: keras.layers.LayerNormalization(center=False, scale=False)),
    "group": ("group:groups=2,eps=1e-3", "NCHW", lambda keras: keras.layers.GroupNormalization(2)),
    "instance": ("instance:eps=1e-3", "NCHW", lambda keras: keras.layers.GroupNormalization(-1)),
    "rms": ("rms:eps=1e-6", "NCHW", lambda keras: keras.layers.RMSNormalization()),
    "unit": ("unit", "NC", lambda keras: keras.layers.UnitNormalization()),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_gives_the_same_with_its_own_defaults(keras: ModuleType, name: str) -> None:
    text, layout, make = KERAS[name]
    x, last = inputs(layout)
    theirs = make(keras)
    y = theirs(last, training=True) if name == "batch" else theirs(last)
    close(keras.ops.convert_to_numpy(y), ours(text, layout, x))


@pytest.mark.parametrize(("rmax", "dmax"), [(1.0, 0.0), (1.3, 0.2)])
def test_keras_renormalizes_alike(keras: ModuleType, rmax: float, dmax: float) -> None:
    clipping = {"rmin": 1 / rmax, "rmax": rmax, "dmax": dmax}
    theirs = keras.layers.BatchNormalization(
        epsilon=1e-5, momentum=0.9, renorm=True, renorm_clipping=clipping, renorm_momentum=0.9
    )
    layer = norms.BatchRenorm(6, rmax, dmax, start=0, rmax_at=0, dmax_at=0, momentum=0.1).train()
    for step in range(5):
        x, last = inputs("NCHW", step)
        y = keras.ops.convert_to_numpy(theirs(last, training=True)).transpose(CHANNELS_FIRST)
        close(y, layer(x).detach().numpy())


TIMM: dict[str, tuple[str, str, Callable[[ModuleType], torch.nn.Module]]] = {
    "layer": ("layer:eps=1e-6", "NLC", lambda timm: timm.LayerNorm(6)),
    "layer2d": ("layer2d:eps=1e-6", "NCHW", lambda timm: timm.LayerNorm2d(6)),
    "group": ("group:groups=2", "NCHW", lambda timm: timm.GroupNorm(6, num_groups=2)),
    "group1": ("group:groups=1", "NCHW", lambda timm: timm.GroupNorm1(6)),
    "rms": ("rms:eps=1e-6", "NLC", lambda timm: timm.RmsNorm(6)),
    "rms2d": ("rms:eps=1e-6", "NCHW", lambda timm: timm.RmsNorm2d(6)),
    "batch": ("batch", "NCHW", lambda timm: timm.BatchNormAct2d(6, apply_act=False)),
    "frn": ("frn:eps=1e-5", "NCHW", lambda timm: timm.FilterResponseNormTlu2d(6)),
    "evonorm-b0": ("evonorm-b0", "NCHW", lambda timm: timm.EvoNorm2dB0(6)),
    "evonorm-s0": ("evonorm-s0:groups=2", "NCHW", lambda timm: timm.EvoNorm2dS0(6, groups=2)),
}


@pytest.mark.parametrize("name", TIMM)
def test_timm_gives_the_same_results_gradients_and_buffers(timm: ModuleType, name: str) -> None:
    text, layout, make = TIMM[name]
    single = {"rtol": 1e-5, "atol": 1e-5}  # timm takes the statistics of its own layers in float32
    layer, theirs = parse(text).build(slot_of(layout)).double().train(), make(timm).double().train()
    for step in range(5):
        x = some_input(layout, step).requires_grad_()
        found, truth = layer(x), theirs(x)
        torch.testing.assert_close(found, truth, **single)
        dy = torch.randn_like(truth)
        values = dict(theirs.named_parameters())
        assert values.keys() == dict(layer.named_parameters()).keys()
        wanted, known = [x, *(layer.get_parameter(key) for key in values)], [x, *values.values()]
        pairs = (torch.autograd.grad(*each, dy) for each in ((found, wanted), (truth, known)))
        for a, b in zip(*pairs, strict=True):
            torch.testing.assert_close(a, b, **single)
        for key, value in theirs.named_buffers():
            torch.testing.assert_close(layer.get_buffer(key), value, **single)
    torch.testing.assert_close(layer.eval()(x), theirs.eval()(x), **single)


def test_timm_standardizes_weights_alike(timm: ModuleType) -> None:
    theirs = timm.StdConv2d(3, 4, 2).double()
    layer = torch.nn.Conv2d(3, 4, 2, bias=theirs.bias is not None).double()
    layer.load_state_dict(theirs.state_dict())
    norm = parse("standardized")
    norm.spec.wrap(layer, norm.options)
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), theirs(x))
