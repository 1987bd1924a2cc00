"""Every norm as a module among others: empty, whole and complex input, resets, devices and types, fx, walkers."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from norm_cases import CASES, WITH_VARIANTS, slot_of, some_input
from normlab import norms
from normlab.errors import InputError
from normlab.norms.catalog import parse
from normlab.norms.spec import Norm
from normlab.surgery.freezing import freeze

ONCE = list({case.values[0].spec.name: case for case in CASES if case.values[1] in ("NC", "NCHW")}.values())
KEEPING = [case for case in ONCE if case.values[0].spec.buffers and case.values[0].spec.wrap is None]
TRANSPARENT = {"none", "weight", "spectral", "standardized"}  # nothing stands in their slot


def with_layer(norm: Norm, layout: str) -> nn.Module:
    """The norm behind the linear layer or convolution that a model has there."""
    kinds = {"NCL": nn.Conv1d, "NCHW": nn.Conv2d, "NCDHW": nn.Conv3d}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = kinds[layout](6, 6, 1) if layout in kinds else nn.Linear(6, 6)
        before = before if norm.spec.wrap is None else norm.spec.wrap(before, norm.options)
        return nn.Sequential(before, norm.build(slot_of(layout)), nn.Tanh()).train()


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_an_empty_batch_gives_every_parameter_a_gradient_of_zeros(norm: Norm, layout: str, training: bool) -> None:
    """A process without samples then takes part in the sum of gradients over all processes."""
    layer = norm.build(slot_of(layout)).train(training)
    empty = [some_input(layout)[:0]]
    if len(layout) > 2:  # and one without positions, where the norm takes it
        empty.append(some_input(layout).narrow(layout.index("L" if "L" in layout else "W"), 0, 0))
    for x in empty:
        x = x.float().requires_grad_()
        layer.zero_grad(set_to_none=True)
        try:
            layer(x).sum().backward()
        except (RuntimeError, ValueError):
            assert len(x), "an empty batch is always taken"
            continue
        assert x.grad is not None
        for name, parameter in layer.named_parameters():
            assert parameter.grad is not None, name
            assert torch.equal(parameter.grad, torch.zeros_like(parameter)), name


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_whole_and_complex_numbers_are_refused(norm: Norm, layout: str, dtype: torch.dtype) -> None:
    if norm.spec.name in TRANSPARENT:
        return
    x = some_input(layout).to(dtype)
    for training in (True, False):
        layer = norm.build(slot_of(layout)).train(training)
        with pytest.raises((InputError, RuntimeError)):
            layer(x)
        assert all(torch.isfinite(buffer).all() for buffer in layer.buffers())


@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_made_on_meta_and_reset_it_is_as_at_the_start(norm: Norm, layout: str) -> None:
    if norm.spec.wrap is not None:
        return
    fresh = norm.build(slot_of(layout))
    with torch.device("meta"):
        layer = norm.build(slot_of(layout))
    layer.to_empty(device="cpu")
    for tensor in (*layer.parameters(), *layer.buffers()):
        tensor.detach().fill_(7)
    if layer.state_dict():
        layer.reset_parameters()
    torch.testing.assert_close(layer.state_dict(), fresh.state_dict(), rtol=0, atol=0)
    x = some_input(layout).float()
    assert torch.equal(layer.train()(x), fresh.train()(x))


@pytest.mark.parametrize(("norm", "layout"), KEEPING)
def test_running_statistics_can_be_reset_alone(norm: Norm, layout: str) -> None:
    layer, fresh = norm.build(slot_of(layout)).train(), norm.build(slot_of(layout))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5)
    learned = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    layer(some_input(layout).float())
    layer.reset_running_stats()
    torch.testing.assert_close(dict(layer.named_buffers()), dict(fresh.named_buffers()), rtol=0, atol=0)
    torch.testing.assert_close({name: value.detach() for name, value in layer.named_parameters()}, learned)


MAKERS = {
    "Bias": lambda **how: norms.Bias(6, **how),
    "DynamicTanh": lambda **how: norms.DynamicTanh(6, **how),
    "DynamicErf": lambda **how: norms.DynamicErf(6, **how),
    "LayerNorm2d": lambda **how: norms.LayerNorm2d(6, **how),
    "ChannelRMSNorm": lambda **how: norms.ChannelRMSNorm(6, **how),
    "PartialRMSNorm": lambda **how: norms.PartialRMSNorm(6, **how),
    "RMSNorm": lambda **how: norms.RMSNorm(6, **how),
    "AxesLayerNorm": lambda **how: norms.AxesLayerNorm((6,), (1,), **how),
    "ScaleNorm": lambda **how: norms.ScaleNorm(6, **how),
    "FilterResponseNorm": lambda **how: norms.FilterResponseNorm(6, learned=True, **how),
    "EvoNormB0": lambda **how: norms.EvoNormB0(6, **how),
    "EvoNormS0": lambda **how: norms.EvoNormS0(6, 2, **how),
    "AnyBatchNorm": lambda **how: norms.AnyBatchNorm(6, **how),
    "GhostBatchNorm1d": lambda **how: norms.GhostBatchNorm1d(6, **how),
    "GhostBatchNorm2d": lambda **how: norms.GhostBatchNorm2d(6, **how),
    "GhostBatchNorm3d": lambda **how: norms.GhostBatchNorm3d(6, **how),
    "BatchRenorm": lambda **how: norms.BatchRenorm(6, **how),
    "MeanOnlyBatchNorm": lambda **how: norms.MeanOnlyBatchNorm(6, **how),
    "VarianceOnlyBatchNorm": lambda **how: norms.VarianceOnlyBatchNorm(6, **how),
    "BatchGroupNorm": lambda **how: norms.BatchGroupNorm(6, 2, **how),
    "SwitchNorm": lambda **how: norms.SwitchNorm(6, **how),
    "GroupNorm": lambda **how: norms.GroupNorm(2, 6, **how),
    "MaskedBatchNorm": lambda **how: norms.MaskedBatchNorm(6, **how),
    "MaskedGroupNorm": lambda **how: norms.MaskedGroupNorm(2, 6, **how),
    "AffineInstanceNorm1d": lambda **how: norms.AffineInstanceNorm1d(6, **how),
    "AffineInstanceNorm2d": lambda **how: norms.AffineInstanceNorm2d(6, track_running_stats=True, **how),
    "AffineInstanceNorm3d": lambda **how: norms.AffineInstanceNorm3d(6, bias=False, **how),
    "ScaleShift": lambda **how: norms.ScaleShift(6, **how),
}
WITHOUT_OWN = {"Layer", "UnitNorm", "FrozenNorm", "RunningStatistics", "StandardizedWeight", "Activation"}


def test_every_class_with_parameters_is_made_below() -> None:
    classes = [kind for name in norms.__all__ if isinstance(kind := getattr(norms, name), type)]
    own = {kind.__name__ for kind in classes if issubclass(kind, nn.Module) and not issubclass(kind, norms.Around)}
    assert own - WITHOUT_OWN == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_device_and_type_can_be_chosen_when_a_layer_is_made(name: str) -> None:
    layer = MAKERS[name](device="meta", dtype=torch.float64)
    tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    assert tensors
    counter = {"num_batches_tracked": torch.int64}
    assert {key: (value.device.type, value.dtype) for key, value in tensors.items()} == {
        key: ("meta", counter.get(key, torch.float64)) for key in tensors
    }
    layer.to_empty(device="cpu").reset_parameters()
    torch.testing.assert_close(layer.state_dict(), MAKERS[name](dtype=torch.float64).state_dict())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_fx_traces_a_model_with_it_as_with_torchs_own(norm: Norm, layout: str, training: bool) -> None:
    model = with_layer(norm, layout).train(training)
    x = some_input(layout).float()
    traced = torch.fx.symbolic_trace(copy.deepcopy(model)).train(training)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1", "2"]
    torch.testing.assert_close(traced(x), model(x), rtol=0, atol=0)
    torch.testing.assert_close(traced.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_fx_traces_models_with_frozen_layers() -> None:
    model, _ = freeze(with_layer(parse("batch-renorm"), "NCHW"))
    x = some_input("NCHW").float()
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


def test_frozen_layers_are_one_graph_for_the_compiler() -> None:
    model, x = with_layer(parse("batch-renorm"), "NCHW"), some_input("NCHW").float()
    model(x)
    frozen, _ = freeze(model)
    torch._dynamo.reset()
    compiled = torch.compile(frozen.train(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model.eval()(x))


WALKS = {
    "update_bn": lambda model, x: update_bn([x + 3], model),
    "reset": lambda model, x: model.apply(lambda part: getattr(part, "reset_running_stats", lambda: None)()),
    "modes": lambda model, x: [setattr(part, "training", True) for part in model.modules()],
    "train of the parts": lambda model, x: [part.train() for part in model.modules()],
    "momentum": lambda model, x: [setattr(part, "momentum", 1.0) for part in model.modules()],
    "sync": lambda model, x: nn.SyncBatchNorm.convert_sync_batchnorm(model),
    "own update_bn": lambda model, x: norms.update_bn([x + 3], model),
    "reestimate": lambda model, x: norms.reestimate(model, [x + 3], include_evaluating=True),
}


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize(("norm", "layout"), KEEPING)
def test_frozen_statistics_survive_what_walks_over_the_model(norm: Norm, layout: str, walk: str) -> None:
    model, x = with_layer(norm, layout), some_input(layout).float()
    model(x)
    frozen, report = freeze(model)
    assert report.layers == ("1",)
    expected = model.eval()(x)
    WALKS[walk](frozen, x)
    frozen.train()
    frozen(x + 5)
    torch.testing.assert_close(frozen(x), expected, rtol=0, atol=0)
    torch.testing.assert_close(dict(frozen[1].named_buffers()), dict(model[1].named_buffers()), rtol=0, atol=0)


def test_a_frozen_layer_resets_what_is_learned_alone() -> None:
    frozen, _ = freeze(with_layer(parse("batch"), "NCHW"))
    with torch.no_grad():
        frozen[1].weight.fill_(3)
        frozen[1].running_mean.fill_(3)
    frozen[1].reset_parameters()
    assert torch.equal(frozen[1].weight, torch.ones(6))
    assert torch.equal(frozen[1].running_mean, torch.full((6,), 3.0))


@pytest.mark.parametrize(("norm", "layout"), KEEPING)
def test_frozen_models_move_export_and_take_other_parameters(norm: Norm, layout: str) -> None:
    model, x = with_layer(norm, layout), some_input(layout).float()
    model(x)
    frozen, _ = freeze(model)
    expected = model.eval()(x)
    wide = copy.deepcopy(frozen).double()
    assert all(buffer.dtype == torch.float64 for name, buffer in wide.named_buffers() if "num" not in name)
    torch.testing.assert_close(wide(x.double()).float(), expected)
    torch.testing.assert_close(torch.export.export(frozen, (x,)).module()(x), expected)
    moved = {name: parameter + 0.5 for name, parameter in frozen.named_parameters() if name == "1.bias"}
    plain = torch.func.functional_call(model, moved, (x,))
    torch.testing.assert_close(torch.func.functional_call(frozen, moved, (x,)), plain)
    again = pickle.loads(pickle.dumps(frozen)).train()
    torch.testing.assert_close(again(x), expected)
    for (_, held), (_, seen) in zip(again[1].layer.named_buffers(), again[1].named_buffers(), strict=True):
        assert held is seen
    assigned, _ = freeze(with_layer(norm, layout))
    assigned.load_state_dict(model.state_dict(), assign=True)
    torch.testing.assert_close(assigned(x), expected)


def test_ghost_batch_normalization_is_none_of_torchs_classes_but_exchanges_state_dicts() -> None:
    ghost, batch = (parse(text).build(slot_of("NCHW")) for text in ("ghost:size=2", "batch"))
    x = some_input("NCHW").float()
    ghost(x)
    batch.load_state_dict(ghost.state_dict())
    torch.testing.assert_close(batch.eval()(x), ghost.eval()(x), rtol=0, atol=0)
    batch.train()(x)
    ghost.load_state_dict(batch.state_dict())
    torch.testing.assert_close(batch.eval()(x), ghost(x), rtol=0, atol=0)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(ghost, batch))
    assert model[0] is ghost
    assert isinstance(model[1], nn.SyncBatchNorm)
    with pytest.raises(InputError, match="input of 4 axes; got input of shape"):
        ghost(torch.zeros(4, 6))


def test_ghost_batch_normalization_is_one_graph_at_every_batch_size() -> None:
    torch._dynamo.reset()
    eager, compiled = (parse("ghost:size=2").build(slot_of("NCHW")).train() for _ in range(2))
    whole = torch.compile(compiled, backend="aot_eager", fullgraph=True)
    for samples in (4, 7, 6, 3):
        x = some_input("NCHW", samples=samples).float()
        torch.testing.assert_close(whole(x), eager(x))
    torch.testing.assert_close(compiled.state_dict(), eager.state_dict())


CUMULATIVE = [case for case in KEEPING if any(option.name == "cumulative" for option in case.values[0].spec.options)]


@pytest.mark.parametrize(("norm", "layout"), CUMULATIVE)
def test_a_cumulative_average_counts_all_batches_alike(norm: Norm, layout: str) -> None:
    """Each batch moves a fresh layer with momentum 1 to its own statistics; their mean is the average."""
    options = {**norm.options, "cumulative": True}
    layer = norm.spec.build(slot_of(layout), options).double().train()
    single = []
    batches = [some_input(layout, seed) for seed in range(3)]
    for batch in batches:
        layer(batch)
        alone = norm.spec.build(slot_of(layout), {**norm.options, "momentum": 1.0}).double().train()
        alone(batch)
        single.append(dict(alone.named_buffers()))
    for name, buffer in layer.named_buffers():
        if name != "num_batches_tracked":
            torch.testing.assert_close(buffer, torch.stack([each[name] for each in single]).mean(0))
    torch.testing.assert_close(layer.eval()(batches[0]), layer(batches[0]))


@pytest.mark.parametrize(("norm", "layout"), KEEPING)
def test_update_bn_averages_over_all_batches_for_every_layer(norm: Norm, layout: str) -> None:
    """And gives for torch's BatchNorm what torch's own gives."""
    model, batches = with_layer(norm, layout), [some_input(layout, seed).float() for seed in range(3)]
    model(batches[0] + 4)
    first = copy.deepcopy(model)
    momentum = model[1].momentum
    norms.update_bn([(batch, torch.zeros(4)) for batch in batches], model.eval(), "cpu")
    assert (model[1].momentum, model.training) == (momentum, False)
    if norm.spec.name in ("batch", "sync-batch"):
        update_bn(batches, first.train())
    else:
        first.train()[1].reset_running_stats()
        first[1].momentum = None
        for batch in batches:
            first(batch)
    torch.testing.assert_close(model.state_dict(), first.state_dict())


def test_an_error_while_updating_leaves_everything_as_before() -> None:
    model = with_layer(parse("batch-renorm"), "NCHW").train()
    model(some_input("NCHW").float())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match="batches must be tensors"):
        norms.update_bn([some_input("NCHW").float(), "nothing"], model)
    torch.testing.assert_close(model.state_dict(), before)
    assert (model.training, model[1].momentum) == (True, 0.01)


def test_partial_rms_norm_takes_the_mean_square_of_the_first_features() -> None:
    for layout in ("NC", "NCHW", "NLC"):
        layer = parse("rms:share=0.5,eps=0.2").build(slot_of(layout)).double()
        x = some_input(layout)
        axis = layout.index("C")
        power = x.narrow(axis, 0, 3).square().mean(axis, keepdim=True)
        torch.testing.assert_close(layer(x), x / (power + 0.2).sqrt())
    assert type(parse("rms:share=1").build(slot_of("NC"))) is norms.RMSNorm
    with pytest.raises(InputError, match=r"share must be a number above 0 and at most 1; got '1\.5'"):
        parse("rms:share=1.5")
    with pytest.raises(InputError, match="share must be above 0"):
        norms.PartialRMSNorm(4, share=0)


@pytest.mark.parametrize("axes", [(1,), (2, 3), (1, 3), (3, 1), (-2,), (1, 2, 3)])
def test_layer_norm_over_chosen_axes_is_torchs_over_the_last_ones(axes: tuple[int, ...]) -> None:
    x = some_input("NCHW").requires_grad_()
    sizes = tuple(x.shape[axis] for axis in axes)
    layer = norms.AxesLayerNorm(sizes, axes, eps=0.2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.arange(layer.weight.numel()).view(sizes))
        layer.bias.copy_(layer.weight.cos())
    whole = sorted(axis % 4 for axis in axes)
    mean, variance = x.mean(whole, keepdim=True), x.var(whole, keepdim=True, correction=0)
    last = tuple(range(-len(axes), 0))
    normalized = ((x - mean) / (variance + 0.2).sqrt()).movedim(axes, last)
    expected = (normalized * layer.weight + layer.bias).movedim(last, axes)
    torch.testing.assert_close(layer(x), expected)
    gradients = (torch.autograd.grad((y * x.detach().cos()).sum(), x)[0] for y in (layer(x), expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("axes", [(1, 1), (), (1,)])
def test_axes_that_cannot_be_meant_are_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="one size for each of the axes"):
        norms.AxesLayerNorm((6, 3), axes)
    with pytest.raises(InputError, match="must have 6 channels on axis 1"):
        norms.AxesLayerNorm((6,), (1,))(torch.zeros(2, 5))


def test_instance_norm_with_running_statistics_is_torchs() -> None:
    for text, affine in (("instance:track_running_stats=true,momentum=0.3,affine=true", True),
                         ("instance:track_running_stats=true", False)):  # fmt: skip
        norm = parse(text)
        layer = norm.build(slot_of("NCHW")).train()
        theirs = nn.InstanceNorm2d(6, momentum=norm.options["momentum"], affine=affine, track_running_stats=True)
        for seed in range(3):
            x = some_input("NCHW", seed).float()
            torch.testing.assert_close(layer(x), theirs(x), rtol=0, atol=0)
        torch.testing.assert_close(layer.state_dict(), theirs.state_dict(), rtol=0, atol=0)
        torch.testing.assert_close(layer.eval()(x), theirs.eval()(x), rtol=0, atol=0)


def test_batch_norm_without_running_statistics_evaluates_by_the_batch() -> None:
    layer = parse("batch:track_running_stats=false").build(slot_of("NCHW"))
    assert list(layer.buffers()) == []
    x = some_input("NCHW").float()
    torch.testing.assert_close(layer.eval()(x), nn.functional.batch_norm(x, None, None, training=True))


WITH_BIAS = [case for case in CASES if any(option.name == "bias" for option in case.values[0].spec.options)]


@pytest.mark.parametrize(("norm", "layout"), WITH_BIAS)
def test_without_a_bias_it_is_the_layer_whose_bias_stays_at_zero(norm: Norm, layout: str) -> None:
    options = {**norm.options, "affine": True}
    layers = [norm.spec.build(slot_of(layout), {**options, "bias": bias}).double().train() for bias in (True, False)]
    assert {name for name, _ in layers[0].named_parameters()} - {name for name, _ in layers[1].named_parameters()} == {
        "bias"
    }
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.arange(1.0, layer.weight.numel() + 1).view(layer.weight.shape))
    for mode in (True, False):
        x = some_input(layout).requires_grad_()
        results = [layer.train(mode)(x) for layer in layers]
        torch.testing.assert_close(*results)
        gradients = [torch.autograd.grad((y * y.detach().cos()).sum(), x, retain_graph=True)[0] for y in results]
        torch.testing.assert_close(*gradients)


def lazy(kind: type[nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that lazy layers may change
        return nn.Sequential(nn.Linear(2, 2), kind())


@pytest.mark.parametrize("kind", [nn.LazyBatchNorm1d, nn.LazyInstanceNorm1d, nn.LazyLinear])
def test_layers_that_wait_for_a_batch_are_named(kind: type[nn.Module]) -> None:
    make = (lambda: kind(3)) if kind is nn.LazyLinear else kind
    x = torch.randn(4, 2)
    for use in (
        lambda model: norms.reestimate(model, [x]),
        lambda model: norms.update_bn([x], model),
        freeze,
        lambda model: norms.population_statistics(model, x).__enter__(),
    ):
        with pytest.raises(InputError, match=f"'1' \\({kind.__name__}\\), which waits .* Run a batch through"):
            use(lazy(make))


def test_a_model_that_keeps_computed_tensors_can_be_frozen() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that this form is an old one
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 3)), nn.BatchNorm1d(3))
    x = torch.randn(4, 2)
    frozen, report = freeze(model)
    assert report.layers == ("1",)
    assert torch.equal(frozen(x), model.eval()(x))
    model.train()
    assert norms.reestimate(model, [torch.randn(5, 2)]).layers == ("1",)


def of(model: nn.Module) -> Tensor:
    return torch.cat([model[0].running_mean, model[1].running_mean])


def test_layers_in_evaluation_mode_are_left_alone_unless_asked() -> None:
    x = torch.randn(8, 3) + 2
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)).train()
    model[0].eval()
    told = norms.reestimate(model, [x])
    assert (told.layers, told.skipped, model[0].training) == (("1",), ("0",), False)
    assert torch.equal(model[0].running_mean, torch.zeros(3))
    torch.testing.assert_close(model[1].running_mean, (x / (1 + 1e-5) ** 0.5).mean(0))
    told = norms.reestimate(model, [x], include_evaluating=True)
    assert (told.layers, told.skipped) == (("0", "1"), ())
    torch.testing.assert_close(model[0].running_mean, x.mean(0))
    assert norms.reestimate(model.eval(), [x]).layers == ("0", "1"), "nothing says that one of them was meant"
    model.train()
    model[0].eval()
    before = of(model)
    norms.update_bn([x], model)
    assert torch.equal(of(model)[:3], before[:3])
    assert not model[0].training


@pytest.mark.parametrize("layer_by_layer", [True, False])
@pytest.mark.parametrize(("norm", "layout"), KEEPING)
def test_statistics_that_are_not_finite_are_healed(norm: Norm, layout: str, layer_by_layer: bool) -> None:
    make = lambda: nn.Sequential(*with_layer(norm, layout), *with_layer(norm, layout)).train()  # noqa: E731
    model, sound = make(), make()
    for layer in (model[1], model[4]):
        for name, buffer in layer.named_buffers():
            if name != "num_batches_tracked":
                buffer.fill_(float("nan"))
    batches = [some_input(layout, seed).float() for seed in range(3)]
    for each in (model, sound):
        told = norms.reestimate(each, batches, layer_by_layer=layer_by_layer)
        assert told.layers == ("1", "4")
    torch.testing.assert_close(model.state_dict(), sound.state_dict())
