"""Pains of replacing layers: each test shows the failure in plain PyTorch, then what `normlab.swap` does.

The trackers where each was reported are named in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm

import normlab
from normlab import InputError


def net(channels: int = 12) -> nn.Sequential:
    """A block within a block, with numbers in gamma, beta and statistics."""
    block = nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU())
    model = nn.Sequential(block, nn.Conv2d(channels, channels, 3), nn.BatchNorm2d(channels))
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return model


IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def batch_norms(model: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    return ((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d))


def test_changing_what_is_walked_over_raises() -> None:
    """segmentation_models.pytorch#488."""
    model = net()

    def rename() -> None:
        for name, layer in model._modules.items():
            if isinstance(layer, nn.BatchNorm2d):
                del model._modules[name]
                model._modules[f"{name}_group"] = nn.GroupNorm(4, 12)

    with pytest.raises(RuntimeError, match=r"mutated|changed (size )?during"):
        rename()
    swapped, report = normlab.swap(net(), "group:groups=4")
    assert report.replaced == ("0.1", "2")
    assert swapped(IMAGES).isfinite().all()


def test_a_dotted_name_adds_a_module_in_silence() -> None:
    """pytorch#78744."""
    model = net()
    setattr(model, "0.1", nn.GroupNorm(4, 12))
    assert isinstance(model[0][1], nn.BatchNorm2d), "the layer in use is the old one"
    assert len(list(model.modules())) == len(list(net().modules())) + 1
    swapped, _ = normlab.swap(net(), "group:groups=4", where="0.1")
    assert isinstance(swapped[0][1], nn.GroupNorm)
    assert len(list(swapped.modules())) == len(list(net().modules()))


def test_channels_first_or_groups_first() -> None:
    """vision#1929: torch's GroupNorm takes groups, channels; every other norm takes channels."""
    with pytest.raises(ValueError, match="divisible"):
        nn.GroupNorm(12, 4)
    swapped, _ = normlab.swap(net(), "group:groups=4")
    assert (swapped[2].num_groups, swapped[2].num_channels) == (4, 12)


def test_groups_that_do_not_divide() -> None:
    """mmcv#688, opacus PR#390, opacus#580."""
    with pytest.raises(ValueError, match="divisible"):
        nn.GroupNorm(8, 12)
    swapped, report = normlab.swap(net(), "group:groups=8")
    assert swapped[2].num_groups == 6
    assert [entry.notes for entry in report.entries] == [("6 groups, as 8 do not divide 12 channels",)] * 2
    with pytest.raises(InputError, match="8 do not divide 12 channels"):
        normlab.swap(net(), "group:groups=8", strict=True)


def test_one_element_a_group_is_zero() -> None:
    """opacus#567."""
    assert nn.GroupNorm(6, 6)(torch.randn(4, 6)).abs().max() < 1e-3, "whatever the input"
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6))
    swapped, _ = normlab.swap(model, "group:groups=6", example_inputs=torch.randn(4, 3))
    assert swapped[1].num_groups == 3, "two elements for each statistic at the least"
    with pytest.raises(InputError):
        normlab.swap(model, "group:groups=6", example_inputs=torch.randn(4, 3), strict=True)


class NormAct(nn.BatchNorm2d):
    """A norm fused with its activation, as timm's."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def test_a_fused_activation_is_lost() -> None:
    """timm#1254, pytorch#187298."""
    fused = NormAct(12).eval()
    model = nn.Sequential(nn.Conv2d(3, 12, 3), fused).eval()
    plain = nn.Sequential(model[0], nn.GroupNorm(4, 12))  # what a loop over isinstance puts there
    assert plain(IMAGES).min() < -1, "SiLU is never below -0.28"
    swapped, report = normlab.swap(model, "group:groups=4")
    assert swapped(IMAGES).min() > -0.28
    assert torch.allclose(swapped(IMAGES), nn.functional.silu(plain(IMAGES)), atol=1e-6)
    assert report.replaced == ("1",)


def test_a_forward_of_its_own_that_cannot_be_split_is_left_alone() -> None:
    class Odd(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0.1 * x.abs()

    model = nn.Sequential(nn.Conv2d(3, 12, 3), Odd(12))
    swapped, report = normlab.swap(nn.Sequential(*model, nn.BatchNorm2d(12)), "group:groups=4")
    assert isinstance(swapped[1], Odd)
    assert report.entries[0].action == "leave"
    assert "formulas" in report.entries[0].reason


@pytest.mark.parametrize("to", ["rms", "dyt"])
def test_the_fast_path_of_the_encoder_computes_layer_norm_whatever_stands_there(to: str) -> None:
    """pytorch's TransformerEncoderLayer in evaluation without gradients; nn.RMSNorm raises there."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0).eval()
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(2))

    class Double(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    layer.norm2 = Double(16)
    with torch.no_grad():
        without = layer(x)
    assert not torch.allclose(without, layer(x), atol=0.1), "the doubled norm is passed over"
    layer.norm2 = nn.RMSNorm(16, eps=1e-5)
    with torch.no_grad(), pytest.raises(AttributeError):
        layer(x)
    layer.norm2 = nn.LayerNorm(16)
    swapped, _ = normlab.swap(layer, to)
    with torch.no_grad():
        without = swapped(x)
    assert torch.allclose(without, swapped(x), atol=1e-6)


def test_layer_norm_of_images_is_two_layers_and_group_norm_of_one_group_a_third() -> None:
    """ConvNeXt#19."""
    maps = torch.randn(2, 12, 5, 5, generator=torch.Generator().manual_seed(3))
    over_all, at_each = nn.GroupNorm(1, 12)(maps), normlab.norms.LayerNorm2d(12)(maps)
    assert not torch.allclose(over_all, at_each, atol=0.1)
    model = nn.Sequential(nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12))
    for to, expected in (("layer2d", at_each), ("layer-chw", nn.LayerNorm([12, 5, 5])(maps))):
        swapped, _ = normlab.swap(model, to, example_inputs=torch.ones(2, 3, 5, 5))
        swapped[1].weight.data.fill_(1)
        swapped[1].bias.data.zero_()
        assert torch.allclose(swapped[1](maps), expected, atol=1e-5), to


def test_zero_gamma_and_all_else_of_a_layer_is_lost() -> None:
    """mmdetection#453, vision#6074, timm#2422, pytorch#22569, pytorch#43592."""
    model = net()
    model[2].weight.data.zero_()
    model[2].eval().requires_grad_(False)
    model[2].double()
    new = nn.GroupNorm(4, 12)  # what a loop puts there
    assert new.weight.eq(1).all()
    assert new.training
    assert new.weight.requires_grad
    assert new.weight.dtype is torch.float32
    swapped, _ = normlab.swap(model, "group:groups=4")
    assert swapped[2].weight.eq(0).all()
    assert torch.equal(swapped[2].bias, model[2].bias)
    assert (swapped[2].training, swapped[2].weight.requires_grad) == (False, False)
    assert swapped[2].weight.dtype is torch.float64
    assert swapped[2].eps == model[2].eps


def test_a_pretrained_model_is_hurt_and_the_report_says_how_much() -> None:
    model = net().eval()
    swapped, report = normlab.swap(model, "group:groups=4", example_inputs=IMAGES)
    before, after = model(IMAGES), swapped(IMAGES)
    moved = ((after - before).norm() / before.norm()).item()
    assert moved > 0.1
    assert report.changes["evaluation"] == pytest.approx(moved, rel=1e-4)


def test_the_second_name_of_a_shared_norm_is_left_behind() -> None:
    def shared() -> nn.ModuleDict:
        norm = nn.BatchNorm1d(4)
        return nn.ModuleDict({"one": norm, "other": nn.Sequential(nn.Linear(4, 4), norm)})

    model = shared()
    for name, layer in list(model.named_modules()):  # torch gives a shared module once
        if isinstance(layer, nn.BatchNorm1d):
            model.set_submodule(name, nn.LayerNorm(4))
    assert isinstance(model["other"][1], nn.BatchNorm1d)
    swapped, report = normlab.swap(shared(), "layer")
    assert swapped["one"] is swapped["other"][1]
    assert isinstance(swapped["one"], nn.LayerNorm)
    assert report.entries[0].also == ("other.1",)


class Shared(nn.Sequential):
    """One norm in two places."""

    def __init__(self) -> None:
        norm = nn.LayerNorm(8)
        super().__init__(nn.Linear(4, 8), norm, nn.ReLU(), norm, nn.Linear(8, 2))


def test_one_norm_under_two_names_in_a_functional_call() -> None:
    """pytorch#164759: afterwards the model holds what it was called with; the engine that calls so is not fooled."""
    model = Shared()
    weight = model[1].weight
    state = {name: tensor.detach() + 0.5 for name, tensor in model.named_parameters()}
    torch.func.functional_call(model, state, (torch.ones(1, 4),))
    assert model[1].weight is not weight
    generator = torch.Generator().manual_seed(4)
    data = (torch.randn(40, 4, generator=generator), torch.randint(2, (40,), generator=generator))
    options = {"seeds": 2, "epochs": 2, "batch_size": 8, "dtype": "float64"}
    first, second = (
        normlab.compare(Shared, data, ["batch"], engine=engine, **options).metrics()["test_loss_deployed"].to_list()
        for engine in ("sequential", "stacked")
    )
    assert first == pytest.approx(second, rel=1e-6)


def test_the_optimizer_holds_parameters_of_layers_that_are_gone() -> None:
    """composer#553."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model[2] = nn.GroupNorm(4, 12)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert id(model[2].weight) not in held, "it will never learn"
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model(IMAGES).sum().backward()
    optimizer.step()
    kept = {name: optimizer.state[parameter]["exp_avg"] for name, parameter in model.named_parameters()}
    model, report = normlab.swap(model, "group:groups=4", optimizer=optimizer, copy=False)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}
    assert all(torch.equal(optimizer.state[p]["exp_avg"], kept[name]) for name, p in model.named_parameters())
    assert report.optimizer


def test_query_key_norms_and_channels_last_are_missed() -> None:
    """Liger#1470, pytorch#71465."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_norm, self.image = nn.LayerNorm(8), nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Tensor:
            return self.q_norm(x.view(2, 3, 5, 8)) + self.image(x.view(2, 3, 5, 8))

    with pytest.raises(ValueError, match="expected 2D or 3D"):
        nn.BatchNorm1d(8)(torch.ones(2, 3, 5, 8))
    swapped, report = normlab.swap(Heads(), "rms,query-key=batch", example_inputs=torch.randn(2, 15, 8))
    assert [entry.now for entry in report.entries] == ["batch", "rms:eps=1e-05"], "eps goes along"
    assert swapped(torch.randn(2, 15, 8)).shape == (2, 3, 5, 8)


def test_a_patched_layer_norm_misleads_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Liger#1360."""
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    monkeypatch.setattr(nn, "LayerNorm", type("LigerLayerNorm", (nn.Module,), {}))
    assert not any(isinstance(layer, nn.LayerNorm) for layer in model.modules())
    swapped, report = normlab.swap(model, "rms")
    assert report.replaced == ("1",)
    assert isinstance(swapped[1], nn.RMSNorm)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_legacy_weight_norm_cannot_be_copied() -> None:
    """pytorch#102981."""
    import copy

    model = nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.LayerNorm(4))
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(5))
    model(x)
    with pytest.raises(RuntimeError, match="deepcopy protocol"):
        copy.deepcopy(model)
    swapped, _ = normlab.swap(model, "rms")
    assert torch.allclose(swapped[0](x), model[0](x))


def test_lazy_layers_must_see_a_batch_first() -> None:
    """pytorch#187771, pytorch#184698."""
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d())
    with pytest.raises(InputError, match="un a batch through"):
        normlab.swap(model, "group:groups=2")


def test_activations_in_place_behind_a_norm_with_full_backward_hooks() -> None:
    """opacus#828."""
    model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.GroupNorm(4, 12), nn.ReLU(inplace=True))
    model[1].register_full_backward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="BackwardHookFunction"):
        model(IMAGES).sum().backward()
    original = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(inplace=True))
    original[1].register_full_backward_hook(lambda *_: None)
    swapped, report = normlab.swap(original, "group:groups=4", example_inputs=IMAGES)
    swapped(IMAGES).sum().backward()
    assert any("in place" in note for note in report.notes)


def test_there_is_no_way_back() -> None:
    """apex#1103, pytorch#41081."""
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers = [layer for _, layer in batch_norms(model)]
    model, report = normlab.swap(model, "group:groups=4", copy=False)
    assert not list(batch_norms(model))
    assert report.undo() is model
    assert [layer for _, layer in batch_norms(model)] == layers, "the very same layers"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_only_some_kinds_are_meant() -> None:
    """DyT#9."""
    model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.GroupNorm(4, 12), nn.BatchNorm2d(12))
    swapped, _ = normlab.swap(model, "dyt", where="group")
    assert [type(layer).__name__ for layer in swapped] == ["Conv2d", "BatchNorm2d", "DynamicTanh", "BatchNorm2d"]


def test_a_swapped_model_exports_and_compiles_to_what_it_computes() -> None:
    """pytorch#94261, pytorch#94604."""
    swapped, _ = normlab.swap(net().eval(), "group:groups=4")
    exported = torch.export.export(swapped, (IMAGES,)).module()
    assert torch.allclose(exported(IMAGES), swapped(IMAGES), atol=1e-5)


def test_conversion_to_sync_batch_norm_loses_what_it_does_not_know_and_is_no_use_on_one_device() -> None:
    """pytorch#37930."""
    model = nn.Sequential(nn.Conv2d(3, 12, 3), NormAct(12))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert converted(IMAGES).min() < -1, "the activation is gone"
    kept, _ = normlab.to_sync(nn.Sequential(nn.Conv2d(3, 12, 3), NormAct(12)))
    assert kept(IMAGES).min() > -0.28
    assert [finding.code for finding in normlab.doctor(kept, IMAGES, select="NL402").findings] == ["NL402"]
    back, _ = normlab.from_sync(kept)
    assert type(back[1]) is NormAct
