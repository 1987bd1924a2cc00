"""Folding computes what the model computed, with the figures to prove it, and says what it cannot fold and why."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import weight_norm

import normlab
from normlab import norms
from normlab.surgery.folding import LARGEST, RELATIVE


def trained(model: nn.Module, *shape: int) -> nn.Module:
    """The model with gamma, beta and statistics of every norm away from where they start, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in model.modules():
            if type(layer).__name__ != "Frozen" and not isinstance(
                layer, nn.modules.batchnorm._NormBase | norms.RunningStatistics
            ):
                continue
            for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
                if tensor.is_floating_point():
                    drawn = torch.rand(tensor.shape, generator=generator)
                    tensor.copy_(drawn + 0.5 if "var" in name or "std" in name else 2 * drawn - 1)
    return model.eval()


def some(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype) * 2 + 1


class Frozen(nn.Module):
    """A frozen norm as detection libraries have it: four buffers, and an eps that may be 0."""

    def __init__(self, channels: int, eps: float = 0.0) -> None:
        super().__init__()
        self.eps = eps
        for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shape = [1, -1] + [1] * (x.dim() - 2)
        return x * scale.view(shape) + (self.bias - self.running_mean * scale).view(shape)


class Activated(nn.BatchNorm2d):
    """A norm with an activation as its child, as timm has it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.act(super().forward(input))


BEFORE: dict[str, Callable[[], tuple[nn.Module, nn.Module, tuple[int, ...]]]] = {
    "linear": lambda: (nn.Linear(6, 4), nn.BatchNorm1d(4), (5, 6)),
    "linear without bias": lambda: (nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4), (5, 6)),
    "1d": lambda: (nn.Conv1d(6, 4, 3, padding=1), nn.BatchNorm1d(4), (2, 6, 7)),
    "2d": lambda: (nn.Conv2d(6, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), (2, 6, 7, 7)),
    "2d without bias": lambda: (nn.Conv2d(6, 4, 3, bias=False), nn.BatchNorm2d(4), (2, 6, 7, 7)),
    "3d": lambda: (nn.Conv3d(6, 4, 2, dilation=2), nn.BatchNorm3d(4), (2, 6, 5, 5, 5)),
    "reflected": lambda: (nn.Conv2d(6, 4, 3, padding="same", padding_mode="reflect"), nn.BatchNorm2d(4), (2, 6, 7, 7)),
    "grouped": lambda: (nn.Conv2d(6, 4, 3, groups=2), nn.BatchNorm2d(4), (2, 6, 7, 7)),
    "depthwise": lambda: (nn.Conv2d(6, 12, 3, groups=6), nn.BatchNorm2d(12), (2, 6, 7, 7)),
    "transposed": lambda: (nn.ConvTranspose2d(6, 4, 3, stride=2), nn.BatchNorm2d(4), (2, 6, 5, 5)),
    "transposed, grouped": lambda: (
        nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(4),
        (2, 6, 5, 5),
    ),
    "without gamma": lambda: (nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4, affine=False), (2, 6, 7, 7)),
    "without beta": lambda: (nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4, bias=False), (2, 6, 7, 7)),
    "eps 0": lambda: (nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4, eps=0.0), (2, 6, 7, 7)),
    "synchronized": lambda: (nn.Conv2d(6, 4, 3), nn.SyncBatchNorm(4), (2, 6, 7, 7)),
    "frozen class, eps 0": lambda: (nn.Conv2d(6, 4, 3), Frozen(4), (2, 6, 7, 7)),
    "frozen class": lambda: (nn.Conv2d(6, 4, 3), Frozen(4, 1e-3), (2, 6, 7, 7)),
    "frozen here": lambda: (nn.Conv2d(6, 4, 3), norms.FrozenNorm(nn.BatchNorm2d(4)), (2, 6, 7, 7)),
    "instance norm that tracks": lambda: (
        nn.Conv2d(6, 4, 3),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        (2, 6, 7, 7),
    ),
    "ghost": lambda: (nn.Conv2d(6, 4, 3), norms.GhostBatchNorm2d(4, 2), (2, 6, 7, 7)),
    "renorm": lambda: (nn.Conv2d(6, 4, 3), norms.BatchRenorm(4), (2, 6, 7, 7)),
    "weight norm": lambda: (weight_norm(nn.Conv2d(6, 4, 3)), nn.BatchNorm2d(4), (2, 6, 7, 7)),
    "dropout between": lambda: (nn.Conv2d(6, 4, 3), nn.Sequential(nn.Dropout(), nn.BatchNorm2d(4)), (2, 6, 7, 7)),
}


@pytest.mark.parametrize("case", BEFORE)
def test_the_layer_before_takes_the_norm_up(case: str) -> None:
    torch.manual_seed(0)
    layer, norm, shape = BEFORE[case]()
    model = trained(nn.Sequential(layer, norm, nn.Tanh())).double()
    x = some(*shape)
    expected = model(x).detach()
    folded, report = normlab.fold(model, x)
    assert len(report.changes) == 1
    assert report.left == ()
    assert not any(isinstance(part, nn.modules.batchnorm._NormBase | Frozen) for part in folded.modules())
    torch.testing.assert_close(folded(x), expected, rtol=1e-12, atol=1e-12)
    assert "before it" in report.changes[0].note
    assert report.changes[0].figures["off in float64 by"] < 1e-12
    assert report.figures[LARGEST] == pytest.approx(float((folded(x) - expected).detach().abs().max()))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0, msg="the model itself stays")


@pytest.mark.parametrize("case", ["1d", "2d", "2d without bias", "3d", "grouped", "depthwise", "transposed"])
def test_torchs_fusion_gives_the_same_weights(case: str) -> None:
    layer, norm, shape = BEFORE[case]()
    model = trained(nn.Sequential(layer, norm)).double()
    folded, _ = normlab.fold(model, some(*shape))
    oracle = fuse_conv_bn_eval(model[0], model[1], transpose="transposed" in case)
    torch.testing.assert_close(folded[0].weight, oracle.weight, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(folded[0].bias, oracle.bias, rtol=1e-12, atol=1e-14)


BEHIND: dict[str, Callable[[], tuple[nn.Module, nn.Module, tuple[int, ...]]]] = {
    "linear": lambda: (nn.BatchNorm1d(6), nn.Linear(6, 4), (5, 6)),
    "linear without bias": lambda: (nn.BatchNorm1d(6), nn.Linear(6, 4, bias=False), (5, 6)),
    "convolution": lambda: (nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), (2, 6, 7, 7)),
    "grouped": lambda: (nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, groups=2, bias=False), (2, 6, 7, 7)),
    "circular padding": lambda: (
        nn.BatchNorm1d(6),
        nn.Conv1d(6, 4, 3, padding=1, padding_mode="circular"),
        (2, 6, 7),
    ),
    "padded, without shift": lambda: (Frozen(6), nn.Conv2d(6, 3, 3, padding=1, groups=3), (2, 6, 7, 7)),
    "transposed, without shift": lambda: (Frozen(6), nn.ConvTranspose2d(6, 4, 3, groups=2), (2, 6, 7, 7)),
}


@pytest.mark.parametrize("case", BEHIND)
def test_the_layer_behind_takes_it_up_where_nothing_is_before(case: str) -> None:
    torch.manual_seed(0)
    norm, layer, shape = BEHIND[case]()
    model = trained(nn.Sequential(nn.Tanh(), norm, layer)).double()
    if "without shift" in case:
        model[1].bias.zero_()
        model[1].running_mean.zero_()
    x = some(*shape)
    folded, report = normlab.fold(model, x)
    assert report.layers == ("1",)
    assert "behind it" in report.changes[0].note
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)


def test_a_chain_of_norms_and_layers_is_folded_into_both_sides() -> None:
    torch.manual_seed(0)
    parts = [nn.BatchNorm1d(6), nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.BatchNorm1d(5)]
    model = trained(nn.Sequential(*parts, nn.Linear(5, 3))).double()
    x = some(8, 6)
    folded, report = normlab.fold(model, x)
    assert report.layers == ("0", "2", "4")
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_fold_is_as_near_to_double_precision_as_the_model_was(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(3):
        parts += [nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()]
    model = trained(nn.Sequential(*parts)).to(dtype)
    x = some(2, 6, 8, 8, dtype=dtype)
    oracle = copy.deepcopy(model).double()(x.double())
    folded, report = normlab.fold(model, x)
    assert len(report.changes) == 3
    assert folded[0].weight.dtype == dtype
    before, after = ((each(x).double() - oracle).norm() for each in (model, folded))
    assert after < 2 * before
    assert 0 < report.figures[RELATIVE] < torch.finfo(dtype).eps ** 0.5


def test_an_activation_of_the_norm_is_left_in_its_place() -> None:
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 1), Activated(4))).double()
    x = some(2, 3, 5, 5)
    folded, report = normlab.fold(model, x)
    assert isinstance(folded[1], nn.ReLU)
    assert report.changes[0].now == "ReLU"
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)


class Net(nn.Module):
    """A model with everything that cannot be folded."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("skip", "kept", "once", "twice", "shared", "padded", "watched", "last"):
            self.add_module(name, nn.Conv2d(3, 3, 1))
            self.add_module(f"{name}_norm", nn.BatchNorm2d(3))
        self.also = nn.Conv2d(3, 3, 1)
        self.also.weight = self.shared.weight
        self.group, self.idle, self.untracked = nn.GroupNorm(1, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.before_padding = nn.BatchNorm2d(3)
        self.zeros = nn.Conv2d(3, 3, 3, padding=1)
        self.training_norm = nn.BatchNorm2d(3)
        self.watched.register_forward_hook(lambda layer, arguments, output: None)

    def forward(self, x: Tensor) -> Any:
        y = self.skip(x)
        x = torch.tanh(self.skip_norm(y) + y)
        y = self.kept(x)
        x = torch.tanh(self.kept_norm(y))
        x = torch.tanh(self.twice_norm(self.twice(x)) + self.twice_norm(self.once(x)))
        x = torch.tanh(self.shared_norm(self.shared(x)) + self.also(x))
        x = torch.tanh(self.group(x))
        x = torch.tanh(self.zeros(self.before_padding(x)))
        x = torch.tanh(self.training_norm(x))
        x = torch.tanh(self.watched_norm(self.watched(x)))
        return {"y": y, "x": torch.tanh(self.last_norm(self.last(x)))}


def test_what_cannot_be_folded_stays_and_says_why() -> None:
    torch.manual_seed(0)
    model = trained(Net()).double()
    model.training_norm.train()
    x = some(2, 3, 5, 5)
    before = copy.deepcopy(model.state_dict())
    expected = model(x)
    model.load_state_dict(before)
    folded, report = normlab.fold(model, x)
    assert report.layers == ("last_norm",)
    reasons = {left.name: left.reason for left in report.left}
    assert "the output of 'skip' goes to the model itself too" in reasons["skip_norm"]
    assert "the output of 'kept' goes to the model's output too" in reasons["kept_norm"]
    assert "called behind several layers (once, twice)" in reasons["twice_norm"]
    assert "another part has the weights of 'shared' too" in reasons["shared_norm"]
    assert reasons["idle"] == "it is not called with these inputs"
    assert reasons["training_norm"].startswith("it is in training mode")
    assert "hooks watch 'watched'" in reasons["watched_norm"]
    assert reasons["group"].startswith("in evaluation it is no fixed scale and shift")
    assert "its zero padding comes behind the shift" in reasons["before_padding"]
    torch.testing.assert_close(folded(x), expected, rtol=1e-12, atol=1e-12)
    assert "last_norm: BatchNorm2d -> Identity" in report.text()
    assert report.as_dict()["left"][0]["reason"]


def test_a_naive_fold_of_an_output_that_goes_elsewhere_is_wrong() -> None:
    """What a walk over pairs of neighbours does, and why the flow is followed."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    model, x = trained(Skip()).double(), some(2, 3, 5, 5)
    naive = copy.deepcopy(model)
    naive.conv, naive.norm = fuse_conv_bn_eval(model.conv, model.norm), nn.Identity()
    assert (naive(x) - model(x)).abs().max() > 0.1
    folded, report = normlab.fold(model, x)
    assert report.layers == ()
    assert torch.equal(folded(x), model(x))


def test_an_in_place_operation_between_is_seen() -> None:
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(4))).double()
    folded, report = normlab.fold(model, some(2, 3, 5, 5))
    assert "the output of '0' goes to '1' too" in report.reason("2")
    assert torch.equal(folded(some(2, 3, 5, 5)), model(some(2, 3, 5, 5)))


def test_channels_that_are_not_the_layers_are_not_taken_for_them() -> None:
    """BatchNorm1d of N,L,C input takes L for the channels, also where there are as many."""
    model = trained(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh())).double()
    _, report = normlab.fold(model, some(2, 4, 5))
    assert "the outputs of '0' are not the channels of the norm" in report.reason("1")


def test_a_layer_that_is_not_linear_in_its_weights_is_found_out() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return self._conv_forward(input, weight / weight.std((1, 2, 3), keepdim=True), self.bias)

    model = trained(nn.Sequential(Standardized(3, 4, 3), nn.BatchNorm2d(4))).double()
    _, report = normlab.fold(model, some(2, 3, 5, 5))
    assert "'0' with the norm in its weights computes something else" in report.reason("1")


def test_computed_weights_of_the_old_form_are_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that this form is an old one
        layer = nn.utils.weight_norm(nn.Conv2d(3, 4, 1))
    model = trained(nn.Sequential(layer, nn.BatchNorm2d(4))).double()
    _, report = normlab.fold(model, some(2, 3, 5, 5))
    assert "its weight is computed by a hook" in report.reason("1")


def test_weights_beyond_their_type_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, eps=1e-12)).double().eval()
    model[1].running_var.fill_(1e-9)
    with torch.no_grad():
        model[0].weight.fill_(30.0)
    model.half()
    model[1].float()

    class Mixed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x))

    model = Mixed(*model).eval()
    _, report = normlab.fold(model, torch.ones(3, 2).half(), copy=False)
    assert "beyond torch.float16" in report.reason("1")


def test_statistics_that_are_not_finite_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    model[1].running_mean[0] = torch.nan
    _, report = normlab.fold(model, torch.ones(3, 2))
    assert "normlab.recalibrate heals" in report.reason("1")


def test_in_place_no_tensor_is_written_and_an_error_takes_everything_back() -> None:
    torch.manual_seed(0)
    model = trained(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    )
    parts, x = list(model), some(2, 3, 5, 5, dtype=torch.float32)
    before, expected = copy.deepcopy(model.state_dict()), model(x)
    with pytest.raises(normlab.InputError, match=r"may be off by 0 of the largest output; got .*`tolerance`"):
        normlab.fold(model, x, copy=False, tolerance=0.0)
    assert list(model) == parts
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    folded, _ = normlab.fold(model, x, copy=False)
    assert folded is model
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(parts[0].state_dict(), {"weight": before["0.weight"], "bias": before["0.bias"]})


def test_only_models_in_evaluation_are_folded() -> None:
    with pytest.raises(normlab.InputError, match="evaluation mode can be folded; got one in training mode"):
        normlab.fold(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), torch.ones(2, 2))


def test_shared_parts_keep_their_names() -> None:
    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    model = trained(nn.Sequential(block, nn.Tanh(), block)).double()
    x = some(2, 3, 5, 5)
    folded, report = normlab.fold(model, x)
    assert report.changes[0].also == ("2.1",)
    assert folded[0] is folded[2]
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("operation", ["freeze", "fold"])
def test_export_gives_the_same_model(operation: str, tmp_path: Any) -> None:
    pytest.importorskip("onnxscript", reason="the extra `test` brings onnx and onnxscript")
    onnx = pytest.importorskip("onnx", reason="the extra `test` brings onnx and onnxscript")
    from onnx.reference import ReferenceEvaluator

    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, bias=False)]
    model = trained(nn.Sequential(*parts, nn.BatchNorm2d(5)))
    x = some(2, 3, 6, 6, dtype=torch.float32)
    expected = model(x)
    if operation == "fold":
        ready, _ = normlab.fold(model, x)
    else:
        ready, _ = normlab.freeze(model)
        ready.train()  # a frozen model is exported as it is, whatever the mode
    torch.testing.assert_close(torch.export.export(ready, (x,)).module()(x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own
        torch.onnx.export(ready, (x,), tmp_path / "model.onnx", dynamo=True, verbose=False)
    stored = onnx.load(tmp_path / "model.onnx")
    (name,) = (value.name for value in stored.graph.input)
    (output,) = ReferenceEvaluator(stored).run(None, {name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), expected, rtol=1e-4, atol=1e-5)
    kinds = [node.op_type for node in stored.graph.node]
    if operation == "fold":
        assert "BatchNormalization" not in kinds


def test_norms_that_cannot_be_tried_alone_are_left() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = norms.MaskedBatchNorm(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x, torch.ones(x.shape[0], x.shape[2], dtype=torch.bool))

    _, report = normlab.fold(Masked().eval(), torch.ones(2, 4, 3))
    assert report.layers == ()
    assert report.left


@pytest.mark.parametrize(
    "operation", [normlab.freeze, normlab.to_sync, lambda model: normlab.fold(model.eval(), "2,3")]
)
def test_wrapped_models_are_refused(operation: Callable[[nn.Module], Any]) -> None:
    with pytest.raises(normlab.InputError, match="DataParallel"):
        operation(nn.DataParallel(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))))


@pytest.mark.parametrize("tolerance", [-1, torch.nan, "0.1"])
def test_a_tolerance_is_a_number_of_at_least_0(tolerance: Any) -> None:
    with pytest.raises(normlab.InputError, match="`tolerance` must be a number of at least 0"):
        normlab.fold(nn.BatchNorm2d(3).eval(), torch.zeros(1, 3, 2, 2), tolerance=tolerance)


def test_outputs_that_are_not_finite_compare_with_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    with pytest.raises(normlab.InputError, match="must be finite before it is folded"):
        normlab.fold(model, torch.full((1, 3, 2, 2), torch.nan), copy=False)
    assert isinstance(model[1], nn.BatchNorm2d)


class Renamed(Activated):
    """The same with another name for its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@pytest.mark.parametrize("norm", [Frozen(4), Renamed(4)])
def test_a_norm_that_gets_its_input_by_a_name_is_folded(norm: nn.Module) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 1), norm

        def forward(self, images: Tensor) -> Tensor:
            output: Tensor = self.norm(x=self.convolution(images))
            return output

    model, x = trained(Net().double(), 3), some(2, 3, 5, 5)
    folded, report = normlab.fold(model, x)
    assert report.layers == ("norm",)
    torch.testing.assert_close(folded(x), model(x))
    assert not any(part.training for part in folded.norm.modules())


@dataclass
class Answer:
    logits: Any
    features: Any = None


class Answering(nn.Module):
    """A model that gives what it computes, and its features if asked to, in a form of its own."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.bn, self.form = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), form

    def forward(self, x: Tensor) -> Any:
        h = self.conv(x)
        return self.form(self.bn(h), h)


OBJECTS = {"dataclass": Answer, "object": lambda y, h: SimpleNamespace(logits=y, features=h)}


@pytest.mark.parametrize("form", OBJECTS)
def test_what_leaves_the_model_in_an_object_is_followed(form: str) -> None:
    model = trained(Answering(OBJECTS[form]))
    x = some(2, 3, 4, 4, dtype=torch.float32)
    folded, report = normlab.fold(model, x)
    assert not report.layers
    assert "the output of 'conv' goes to the model's output too" in report.reason("bn")
    assert torch.equal(folded(x).features, model(x).features)


def test_outputs_in_an_object_are_compared() -> None:
    model = trained(Answering(lambda y, h: Answer([SimpleNamespace(y=y)])))
    x = some(2, 3, 4, 4, dtype=torch.float32)
    folded, report = normlab.fold(model, x)
    assert report.layers == ("bn",)
    before, after = (one(x).logits[0].y.detach().double() for one in (model, folded))
    assert report.figures[LARGEST] == pytest.approx(float((after - before).abs().max()), rel=1e-6)
    assert report.figures[LARGEST] > 0
    with pytest.raises(normlab.InputError, match="may be off by 0"):
        normlab.fold(model, x, tolerance=0)


def test_a_model_whose_outputs_cannot_be_compared_is_not_folded() -> None:
    model = trained(Answering(lambda y, h: float(y.mean())))
    with pytest.raises(normlab.InputError, match="must give tensors, which are compared; got outputs without any"):
        normlab.fold(model, some(2, 3, 4, 4, dtype=torch.float32))
    empty = trained(Answering(lambda y, h: y[:0]))
    report = normlab.fold(empty, some(2, 3, 4, 4, dtype=torch.float32))[1]
    assert not report.figures
    assert "the outputs are empty, so that nothing was compared" in report.notes


def test_what_a_part_keeps_in_an_attribute_is_not_folded_away() -> None:
    class Keeping(Answering):
        def forward(self, x: Tensor) -> Tensor:
            self.features = [self.conv(x)]
            return self.bn(self.features[0])  # type: ignore[no-any-return]

    report = normlab.fold(trained(Keeping(Answer)), some(2, 3, 4, 4, dtype=torch.float32))[1]
    assert "the output of 'conv' goes to the model itself too" in report.reason("bn")
