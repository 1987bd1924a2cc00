"""Norms are found in models whoever wrote their classes, and told by what they compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import normlab
from normlab import norms
from normlab.norms.catalog import NORMS, build
from normlab.norms.slot import Layout
from normlab.recognition.behaviour import UNKNOWN
from normlab.recognition.find import found_norms, recognize

EXTENTS: dict[Layout, tuple[int, ...]] = {"NC": (), "NCL": (5,), "NCHW": (5, 3), "NCDHW": (2, 3, 5), "NLC": (5,)}


class Scaled(nn.Module):
    """A norm of a user's: gamma is offset + weight, and an activation may follow."""

    def __init__(self, channels: int, kind: str, offset: float = 0.0, eps: float = 1e-4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.kind, self.offset, self.eps = kind, offset, eps

    def forward(self, hidden: Tensor) -> Tensor:
        x = hidden - hidden.mean(-1, keepdim=True) if self.kind == "layer" else hidden
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * (self.offset + self.weight)


class Fused(nn.BatchNorm2d):
    """BatchNorm with an activation, as efficient networks write it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)
        self.act = nn.SiLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.act(super().forward(inputs))


class Frozen(nn.Module):
    """BatchNorm by constants, as detection networks write it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, mean, var = (vector.view(1, -1, 1, 1) for vector in self.buffers())
        return (x - mean) * (weight * var.rsqrt()) + bias


class Gated(nn.Module):
    """RMSNorm that takes a gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = 1e-6

    def forward(self, hidden: Tensor, gate: Tensor | None = None) -> Tensor:
        return nn.functional.rms_norm(hidden, hidden.shape[-1:], self.weight, self.eps)


class Filtered(nn.Module):
    """Filter response normalization and EvoNorm, as vision libraries write them."""

    def __init__(self, channels: int, kind: str, eps: float = 1e-4) -> None:
        super().__init__()
        self.kind, self.eps, self.groups, self.momentum = kind, eps, 2, 0.2
        for name in ("weight", "bias", "tau" if kind == "frn" else "v"):
            self.register_parameter(name, nn.Parameter(torch.randn(channels)))
        if kind == "evonorm-b0":
            self.register_buffer("running_var", torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, further = (vector.view(1, -1, 1, 1) for vector in self.parameters())
        if self.kind == "frn":
            x = x * (x.square().mean((2, 3), keepdim=True) + self.eps).rsqrt()
            return torch.maximum(x * weight + bias, further)
        if self.kind == "evonorm-s0":
            parts = x.unflatten(1, (self.groups, -1))
            std = (parts.var((2, 3, 4), unbiased=False, keepdim=True) + self.eps).sqrt()
            return x * (x * further).sigmoid() / std.expand_as(parts).flatten(1, 2) * weight + bias
        var = self.running_var
        if self.training:
            var = x.var((0, 2, 3), unbiased=False)
            self.running_var.lerp_(var.detach(), self.momentum)
        own = (x.var((2, 3), unbiased=False, keepdim=True) + self.eps).sqrt()
        return x / torch.maximum((var + self.eps).sqrt().view(1, -1, 1, 1), x * further + own) * weight + bias


class Tracking(nn.Module):
    """InstanceNorm that evaluates by running statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_eps, self.momentum = 1e-3, 0.3
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.instance_norm(
            x, self.running_mean, self.running_var, None, None, self.training, self.momentum, self.norm_eps
        )


class LayerScale(nn.Module):
    """No norm: a learned factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


@pytest.mark.parametrize("name", [spec.name for spec in NORMS if spec.wrap is None and spec.name != "none"])
def test_every_norm_of_the_catalogue_is_told_by_its_layer(name: str) -> None:
    for layout in next(spec.axes for spec in NORMS if spec.name == name):
        grouped = any(option.name == "groups" for option in next(spec for spec in NORMS if spec.name == name).options)
        text = f"{name}:groups=2" if grouped else name
        layer = build(text, 6, layout, EXTENTS[layout])
        norm = recognize(layer)
        assert norm is not None
        same_formula = {"layer-chw": ("layer", "layer-chw"), "pono": ("pono", "layer2d")}
        assert norm.kind in same_formula.get(name, (name,)), layout
        assert norm.channels in (6, 0), "0 where the layer takes any number"


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_a_foreign_norm_is_told_by_what_it_computes(kind: str, offset: float) -> None:
    norm = recognize(Scaled(6, kind, offset))
    assert norm is not None
    assert (norm.kind, norm.order, norm.spatial, norm.eps) == (kind, "last", None, 1e-4)
    assert (norm.affine.weight, norm.affine.offset) == ("weight", offset)


def test_an_activation_inside_a_norm_is_seen() -> None:
    norm = recognize(Fused(6))
    assert norm is not None
    assert (norm.kind, norm.activation, norm.spatial, norm.eps) == ("batch", "act", 2, 1e-3)


@pytest.mark.parametrize("kind", ["frn", "evonorm-s0", "evonorm-b0"])
def test_norms_that_are_an_activation_as_well_are_told_by_what_they_compute(kind: str) -> None:
    norm = recognize(Filtered(6, kind))
    assert norm is not None
    assert (norm.kind, norm.order, norm.spatial, norm.eps, norm.activation) == (kind, "first", 2, 1e-4, "")
    assert norm.running == (("running_var",) if kind == "evonorm-b0" else ())
    further = {"evonorm-s0": {"groups": 2}, "evonorm-b0": {"momentum": 0.2}}.get(kind, {})
    assert norm.options == {"eps": 1e-4, **further}


def test_an_instance_norm_that_tracks_is_no_batch_norm() -> None:
    norm = recognize(Tracking(6))
    assert norm is not None
    assert (norm.kind, norm.running) == ("instance", ("running_mean", "running_var"))
    assert norm.options == {"eps": 1e-3, "momentum": 0.3, "track_running_stats": True}


def test_a_child_that_cannot_be_called_is_no_activation() -> None:
    class Split(Fused):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.more = nn.ModuleList()

        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) + 1

    norm = recognize(Split(6))
    assert norm is not None
    assert (norm.kind, norm.obstacle) == ("", "what it computes is none of the formulas that it was run beside")


def test_constants_in_the_place_of_statistics_are_seen_and_an_eps_of_zero_too() -> None:
    norm = recognize(Frozen(6))
    assert norm is not None
    assert (norm.kind, norm.frozen, norm.eps) == ("batch", True, 0.0)
    assert norm.running == ("running_mean", "running_var")


def test_a_norm_that_takes_more_than_its_input_is_named_with_the_reason() -> None:
    norm = recognize(Gated(6))
    assert norm is not None
    assert norm.kind == ""
    assert norm.obstacle == "its forward pass takes more than its input: gate"


def test_what_is_no_norm_is_none() -> None:
    for layer in (LayerScale(6), nn.Linear(2, 2), nn.PReLU(6), nn.Dropout(), nn.Conv2d(1, 6, 1), nn.Identity()):
        assert recognize(layer) is None, layer


def test_a_layer_that_is_looked_at_stays_as_it_is() -> None:
    layer = Fused(6)
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda *_: seen.append(torch.ones(1)))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    torch.manual_seed(0)
    recognize(layer)
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(0)))
    assert not seen
    assert layer.training
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())


def test_another_class_under_torchs_name_fools_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    own = nn.LayerNorm(6)
    monkeypatch.setattr(nn, "LayerNorm", Scaled)
    assert recognize(own).kind == "layer"  # type: ignore[union-attr]
    foreign = nn.LayerNorm(6, "rms")  # type: ignore[arg-type]
    assert recognize(foreign).kind == "rms"  # type: ignore[union-attr]
    assert type(build("layer", 6, "NLC")) is type(own), "and what is built is torch's own"


def test_a_shared_norm_is_found_once_with_all_its_names() -> None:
    shared = nn.BatchNorm1d(4)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(nn.Linear(4, 4), shared)})
    (norm,) = found_norms(model)
    assert (norm.name, norm.names) == ("a", ("a", "b.1"))


def test_norms_on_the_meta_device_are_told_too() -> None:
    with torch.device("meta"):
        model = nn.Sequential(Scaled(6, "rms", 1.0), nn.BatchNorm1d(6))
    assert [norm.kind for norm in found_norms(model)] == ["rms", "batch"]


def test_a_frozen_norm_is_one_with_its_layer_inside() -> None:
    norm = recognize(norms.FrozenNorm(nn.BatchNorm2d(3)))
    assert norm is not None
    assert (norm.kind, norm.frozen, norm.channels) == ("batch", True, 3)


def test_containers_are_no_norms_and_torchs_other_norms_are_named() -> None:
    class NormedBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rms = nn.RMSNorm(4)

    class OwnRMSNorm(nn.Module):
        pass

    model = nn.ModuleDict({"a": NormedBlock(), "b": OwnRMSNorm(), "c": nn.Linear(1, 1), "d": nn.LocalResponseNorm(3)})
    assert [(norm.name, norm.kind, bool(norm.obstacle)) for norm in found_norms(model)] == [
        ("a.rms", "rms", False),
        ("b", "", True),
        ("d", "", True),
    ]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("layers.0.self_attn.q_norm", "query-key"),
        ("blocks.0.norm1", "block"),
        ("model.norm", "output"),
        ("embeddings.LayerNorm", "embedding"),
        ("layer1.0.downsample.1", "shortcut"),
    ],
)
def test_roles_are_told_by_names(name: str, role: str) -> None:
    model = nn.Module()
    *path, last = name.split(".")
    inner = model
    for part in path:
        inner.add_module(part, nn.Module())
        inner = inner.get_submodule(part)
    inner.add_module(last, nn.LayerNorm(4))
    assert [norm.role for norm in found_norms(model)] == [role]


class Kernel(nn.Module):
    """A layer whose kernel runs on a GPU alone."""

    def __init__(self, channels: int, **attributes: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        vars(self).update(attributes)

    def forward(self, hidden: Tensor) -> Tensor:
        raise ValueError("Pointer argument cannot be accessed from Triton (cpu tensor?)")


def of_library(name: str, path: str) -> type[Kernel]:
    return type(name, (Kernel,), {"__module__": path})


def test_a_layer_that_runs_on_no_cpu_is_told_by_its_library_and_what_it_holds() -> None:
    made = of_library("LigerRMSNormForGemma", "liger_kernel.transformers.rms_norm")(
        6, variance_epsilon=1e-4, offset=1.0
    )
    norm = recognize(made)
    assert norm is not None
    assert (norm.kind, norm.order, norm.channels, norm.eps, norm.affine.offset) == ("rms", "last", 6, 1e-4, 1.0)
    swapped, _ = normlab.swap(nn.Sequential(made), "rms:eps=1e-3", example_inputs=None)
    assert torch.equal(swapped[0].weight, torch.ones(6))
    layer = of_library("LigerLayerNorm", "liger_kernel.transformers.layer_norm")(6, variance_epsilon=1e-4)
    layer.bias = nn.Parameter(torch.zeros(6))
    assert recognize(layer).kind == "layer"  # type: ignore[union-attr]


def test_the_name_of_a_class_alone_proves_nothing() -> None:
    norm = recognize(of_library("RMSNorm", "mine.layers")(6, variance_epsilon=1e-4))
    assert norm is not None
    assert (norm.kind, norm.obstacle) == ("", "it takes no input of a usual layout")
    more = of_library("LigerRMSNorm", "liger_kernel.transformers.rms_norm")(6, variance_epsilon=1e-4)
    more.gate = nn.Parameter(torch.zeros(6))
    assert recognize(more).kind == ""  # type: ignore[union-attr]


def test_the_norm_of_a_stem_is_none_of_an_output() -> None:
    """Though it is called as the last norm of an encoder is, which stands behind others in the same module."""
    model = nn.Module()
    for path in ("stem.norm", "encoder.layer.norm", "encoder.norm", "head.norm"):
        owner = model
        *outer, last = path.split(".")
        for step in outer:
            owner._modules.setdefault(step, nn.Module())
            owner = owner.get_submodule(step)
        owner.add_module(last, nn.LayerNorm(4))
    roles = {norm.name: norm.role for norm in found_norms(model)}
    assert [name for name, role in roles.items() if role == "output"] == ["encoder.norm", "head.norm"]


class FollowedNorm(nn.Module):
    """A norm with something behind it that is no module, as attention blocks hand functions around."""

    def __init__(self, channels: int, follow: object) -> None:
        super().__init__()
        self.weight, self.follow = nn.Parameter(torch.ones(channels)), follow

    def forward(self, x: Tensor) -> Tensor:
        assert callable(self.follow)
        followed: Tensor = self.follow(nn.functional.layer_norm(x, x.shape[-1:], self.weight))
        return followed


def test_layers_of_one_class_that_differ_in_an_attribute_are_told_apart() -> None:
    functions = (nn.functional.relu, nn.functional.silu, nn.functional.relu)
    found = found_norms(nn.Sequential(*(FollowedNorm(6, function) for function in functions)))
    assert [norm.activation for norm in found] == ["relu", "silu", "relu"]


class Averaging(nn.Module):
    """BatchNorm whose momentum is the share that is kept, as in TensorFlow, or that of the batch, as in torch."""

    def __init__(self, momentum: float, kept: bool) -> None:
        super().__init__()
        self.momentum, self.kept, self.eps = momentum, kept, 1e-3
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        share = 1 - self.momentum if self.kept else self.momentum
        if self.training:
            batch = torch.var_mean(x, (0, 2, 3), correction=0)
            mean.lerp_(batch[1], share)
            variance.lerp_(batch[0], share)
            variance, mean = batch
        return (x - mean.view(1, -1, 1, 1)) * (variance.view(1, -1, 1, 1) + self.eps).rsqrt()


@pytest.mark.parametrize(("momentum", "kept", "share"), [(0.99, True, 0.01), (0.99, False, 0.99), (0.3, False, 0.3)])
def test_a_momentum_is_the_share_of_a_batch_whatever_the_layer_calls_it(
    momentum: float, kept: bool, share: float
) -> None:
    layer = Averaging(momentum, kept)
    found = recognize(layer)
    assert found is not None
    assert (found.kind, found.momentum) == ("batch", share)
    assert torch.equal(layer.get_buffer("running_mean"), torch.zeros(4))
    codes = {item.code for item in normlab.doctor(nn.Sequential(layer), "16,4,3,3", select="NL110").findings}
    assert codes == ({"NL110"} if share > 0.8 else set())


class OuterNorm(nn.Module):
    """A norm with its gamma outside the layer that normalizes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.weight = nn.Parameter(torch.full((channels,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.norm(x)


def test_the_part_of_a_norm_is_no_norm_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(4, 6), OuterNorm(6))
    assert [norm.name for norm in found_norms(model)] == ["1"]
    swapped, report = normlab.swap(model, "rms", example_inputs="8,4")
    assert report.replaced == ("1",)
    assert isinstance(swapped[1], nn.RMSNorm)
    assert torch.equal(swapped[1].weight, torch.full((6,), 2.0))


class Fused1d(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu_()


def test_a_layer_with_and_without_positions_is_taken_for_both() -> None:
    """As torch's own BatchNorm1d, which stands behind linear layers as well as behind convolutions."""
    assert [norm.spatial for norm in found_norms(nn.Sequential(Fused1d(4), nn.BatchNorm1d(4)))] == [None, None]
    swapped, _ = normlab.swap(nn.Sequential(nn.Linear(3, 4), Fused1d(4)), "layer", example_inputs="8,3")
    assert float(swapped(torch.randn(8, 3)).detach().min()) == 0.0


class OddNorm(nn.Module):
    """RMSNorm whose attributes are called as others' are, and mean something else."""

    def __init__(self, groups: int | None, momentum: object = None) -> None:
        super().__init__()
        self.groups, self.momentum, self.eps = groups, momentum, 1e-6
        self.weight, self.temper = nn.Parameter(torch.ones(8)), nn.Parameter(torch.ones(8))
        if momentum is not None:
            self.register_buffer("running_mean", torch.zeros(8))
            self.register_buffer("running_var", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, (8,), self.weight * self.temper, self.eps)


@pytest.mark.parametrize("layer", [OddNorm(1), OddNorm(None), OddNorm(2, "auto")])
def test_odd_attributes_raise_nothing(layer: nn.Module) -> None:
    assert [norm.obstacle for norm in found_norms(layer)] == [UNKNOWN]
