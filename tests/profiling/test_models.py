"""A profile of a model lists each norm once, with what it got in the step, and leaves the model as it was."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import normlab
from costs.vision import import_torchvision
from normlab.norms.catalog import parse
from normlab.profiling.clock import Stopwatch, Timings
from normlab.profiling.replacements import find_slot
from normlab.profiling.write import tables


class Block(nn.Module):
    """One norm used twice under two names, one that is not called, one behind a detach, an in-place ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.BatchNorm2d(8)
        self.again = self.first
        self.idle = nn.GroupNorm(2, 8)
        self.cut = nn.InstanceNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 16, 4), nn.LayerNorm(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(self.convolution(x)))
        x = self.relu(self.again(x))
        return self.head(x + self.cut(x).detach())


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16), enable_nested_tensor=False)


def test_each_norm_is_listed_once_with_its_calls() -> None:
    found = normlab.profile_model(Block(), "2,3,4,4", repeats=2)
    norms = {norm.name: norm for norm in found.norms}
    assert list(norms) == ["first", "idle", "cut", "head.3"]
    assert {name: norm.calls for name, norm in norms.items()} == {"first": 2, "idle": 0, "cut": 1, "head.3": 1}
    assert norms["first"].also == ("again",)
    assert norms["first"].shape == norms["cut"].shape == (2, 8, 4, 4)
    assert norms["head.3"].shape == (2, 4)
    assert norms["idle"].note == "not called in this step"
    assert norms["idle"].share.median == 0
    assert norms["cut"].note == "no gradient reaches 1 of its 1 calls"
    assert norms["first"].parameters == 16
    assert found.inputs == ((2, 3, 4, 4),)
    said = " ".join(part for part in tables(found) if isinstance(part, str))
    assert "first is also again" in said


def test_the_model_is_as_it_was() -> None:
    torch.manual_seed(0)
    model = Block()
    model.cut.eval()
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    versions = [parameter._version for parameter in model.parameters()]
    numbers = torch.random.get_rng_state()
    normlab.profile_model(model, "2,3,4,4", norms=["batch"], repeats=2)
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert [parameter._version for parameter in model.parameters()] == versions
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is gradients[name]
    assert not any(module._forward_hooks for module in model.modules())


def test_another_type_is_measured_on_a_copy() -> None:
    model = Block()
    normlab.profile_model(model, "2,3,4,4", dtype="float64", repeats=1)
    assert next(model.parameters()).dtype == torch.float32


SHARED = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))


def test_a_module_that_is_named_is_measured_on_a_copy_too() -> None:
    normlab.profile_model(f"{__name__}:SHARED", "3,4", dtype="float64", repeats=1)
    assert SHARED[0].weight.dtype == torch.float32


def test_a_model_that_fails_is_left_as_it_was() -> None:
    model = Block()
    before = model.first.running_mean.clone()
    with pytest.raises(normlab.InputError, match="must take the inputs"):
        normlab.profile_model(model, "2,3,5,5")
    assert torch.equal(model.first.running_mean, before)
    assert not any(module._forward_hooks for module in model.modules())


def test_norms_get_what_they_got_in_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inputs and gradients on which a norm is run again are those of the model, in place changes and all."""
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(inplace=True), nn.Linear(8, 2)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    seen: list[tuple[Tensor, ...]] = []
    original = torch.autograd.grad

    def spy(output: Tensor, leaves: list[Tensor], dy: Tensor, **options: object) -> tuple[Tensor, ...]:
        found = original(output, leaves, dy, **options)
        seen.append(found)
        return found

    monkeypatch.setattr(torch.autograd, "grad", spy)
    normlab.profile_model(model, [x], repeats=1)
    monkeypatch.undo()
    hidden = model[0](x).detach().requires_grad_()
    loss = model[3](torch.relu(model[1](hidden))).square().mean()
    truth = torch.autograd.grad(loss, [hidden, *model[1].parameters()])
    for found, expected in zip(seen[0], truth, strict=True):
        torch.testing.assert_close(found, expected)


def test_other_norms_in_their_places() -> None:
    found = normlab.profile_model(transformer(), "2,5,16", norms=["rms", "batch"], repeats=2)
    assert len(found.norms) == 5
    rms, batch = found.swapped
    assert rms.left_out == ()
    assert rms.share is not None
    assert batch.share is None
    assert len(batch.left_out) == 5
    assert "no form for NLC" in batch.left_out[0]
    said = [part for part in tables(found) if str(part).startswith("Not batch")]
    assert len(said) == 1
    assert said[0].startswith("Not batch for 5 norms (layers.0.norm1, layers.0.norm2, layers.1.norm1, ...): batch has")


def test_a_norm_that_fits_some_places_is_a_part_of_the_step_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 6), nn.LayerNorm(6))
    given = {"the whole step": (4.0, 6.0), "1": (1.0, 1.0), "3": (0.5, 1.5), "all as group:groups=4": (1.0,)}
    monkeypatch.setattr(
        "normlab.profiling.models.interleave", lambda works, *_: {name: Timings([given[name]]) for name in works}
    )
    found = normlab.profile_model(model, "3,4", norms="group:groups=4")
    assert found.swapped[0].share.median == pytest.approx(1 / (10 - 2 + 1)), "the norm that stays is in the step"
    assert any(str(part).startswith("1 of 2 norms as group:groups=4: ") for part in tables(found))


def test_norms_that_fit_nowhere_are_refused_before_anything_is_timed() -> None:
    told: list[str] = []
    with pytest.raises(normlab.InputError, match=r"got batch for 5 norms .*; weight for 5 norms .*: weight changes"):
        normlab.profile_model(transformer(), "2,5,16", norms=["batch", "weight"], on_progress=told.append)
    assert told == ["the first step"]


def test_inputs_and_norms_in_every_form() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))
    for inputs in (torch.randn(3, 4), [torch.randn(3, 4)], (3, 4), [3, 4], "3,4", ["3,4"]):
        found = normlab.profile_model(model, inputs, norms="rms", repeats=1)
        assert found.inputs == ((3, 4),)
        assert [one.norm for one in found.swapped] == ["rms"]


def test_channels_last_is_for_a_copy_of_the_model_and_its_inputs() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    seen: list[bool] = []
    original = nn.BatchNorm2d.forward

    class Spy(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            if torch.is_grad_enabled():  # a look at what it computes is no step
                seen.append(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
            return original(self, x)

    model[1] = Spy(8)
    found = normlab.profile_model(model, "2,3,6,6", memory_format="channels_last", repeats=1)
    assert (found.memory_format, found.dtype) == ("channels_last", "float32")
    assert seen
    assert all(seen)
    assert model[0].weight.is_contiguous()
    seen.clear()
    normlab.profile_model(model, "2,3,6,6", repeats=1)
    assert not any(seen)


def test_a_model_of_several_types_says_all_of_them() -> None:
    model = nn.Sequential(nn.LayerNorm(4, dtype=torch.float64))
    model[0].unused = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert normlab.profile_model(model, torch.randn(2, 4).double(), repeats=1).dtype == "float32, float64"


def test_a_frozen_model_is_run_forward_alone_and_an_input_that_learns_is_not_touched() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)).requires_grad_(False)
    found = normlab.profile_model(model, "2,4", norms="rms", repeats=1)
    assert not found.backward
    assert found.swapped[0].share is not None
    assert not any(norm.note for norm in found.norms)
    x = torch.randn(2, 4, requires_grad=True)
    assert normlab.profile_model(model, x, repeats=1).backward
    assert x.grad is None


def test_outputs_without_a_gradient_are_refused_with_what_to_do() -> None:
    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(4)

        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x)

    with pytest.raises(normlab.InputError, match="freeze all parameters for a forward pass alone"):
        normlab.profile_model(Still(), "2,4")


def test_functions_give_models_with_inputs() -> None:
    embedding = nn.Sequential(nn.Embedding(10, 8), nn.LayerNorm(8))
    assert normlab.profile_model(embedding, "2,3:10", repeats=1).norms[0].shape == (2, 3, 8)
    given = normlab.profile_model(lambda: (embedding, {"input": torch.zeros(1, 2, dtype=torch.long)}), repeats=1)
    assert given.inputs == ((1, 2),)


@pytest.mark.parametrize("kind", ["resnet", "llama", "bert"])
def test_models_of_the_zoo(kind: str) -> None:
    import_torchvision()
    transformers = pytest.importorskip("transformers", reason="the extra `zoo` is not installed")
    if kind == "resnet":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        model, inputs, norms = transformers.ResNetModel(config), "2,3,32,32", "BatchNorm2d"
    elif kind == "llama":
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=20, **sizes))
        inputs, norms = "2,6:20", "LlamaRMSNorm"
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = transformers.BertModel(transformers.BertConfig(vocab_size=20, **sizes))
        inputs, norms = "2,6:20", "LayerNorm"
    found = normlab.profile_model(model, inputs, repeats=1)
    assert {norm.kind for norm in found.norms} == {norms}
    assert [norm.name for norm in found.norms] == [
        name for name, module in model.named_modules() if type(module).__name__ == norms
    ]
    assert {norm.calls for norm in found.norms} == {1}


class Cast(nn.Module):
    """A model that casts by itself; its norm is a linear layer that says so by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = LinearNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.norm(self.first(x))


class LinearNorm(nn.Linear):
    """Takes the type that autocast gives it, and its own weights in float32."""

    types: ClassVar[set[torch.dtype]] = set()

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        LinearNorm.types.add(output.dtype)
        return output


def test_norms_are_run_again_under_the_autocast_of_the_model() -> None:
    LinearNorm.types.clear()
    found = normlab.profile_model(Cast(), "2,4", repeats=1)
    assert [norm.name for norm in found.norms] == ["norm"]
    assert LinearNorm.types == {torch.bfloat16}


class Steps(nn.Module):
    """A norm that counts its passes."""

    passes: ClassVar[list[tuple[str, bool]]] = []

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        Steps.passes.append(("forward", self.training))
        y = x * self.weight
        y.register_hook(lambda _: Steps.passes.append(("backward", self.training)))
        return y


def test_shares_are_those_of_the_clock_and_other_norms_run_forward_and_backward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = f"{__name__}:Steps"
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.LayerNorm(8))
    given = {"the whole step": (4.0, 6.0), "1": (1.0, 1.0), "3": (0.5, 1.5), f"all as {steps}": (2.0,)}
    timed: list[str] = []

    def fake(works: dict[str, object], *_: object) -> dict[str, Timings]:
        Steps.passes.clear()
        works[f"all as {steps}"](Stopwatch(torch.device("cpu")))
        timed.extend(works)
        return {name: Timings([given[name]]) for name in works}

    monkeypatch.setattr("normlab.profiling.models.interleave", fake)
    found = normlab.profile_model(model.train(), "3,4", norms=steps)
    assert set(timed) == set(given)
    assert [norm.share.median for norm in found.norms] == pytest.approx([0.2, 0.2])
    assert found.share.median == pytest.approx(0.4)
    (swapped,) = found.swapped
    assert swapped.share.median == pytest.approx(2 / (10 - 4 + 2)), "of the step that it would be part of"
    assert Steps.passes.count(("forward", True)) == Steps.passes.count(("backward", True)) == 2


class FeaturesLast(nn.Module):
    """Norms of queries and keys on batch, heads, length, features, and of images with the channels last."""

    def __init__(self, query: nn.Module, image: nn.Module) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.query, self.image = query, image

    def forward(self, x: Tensor) -> Tensor:
        heads = self.project(x).unflatten(-1, (3, 8)).transpose(1, 2)
        return self.query(heads).mean() + self.image(heads.reshape(2, 5, 3, 8)).mean()


class OwnRMSNorm(nn.Module):
    """A norm of the last axis, as models bring their own."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def test_other_norms_take_inputs_of_any_number_of_axes_with_the_features_last() -> None:
    model = FeaturesLast(OwnRMSNorm(8), nn.LayerNorm(8))
    profile = normlab.profile_model(model, "2,5,8", norms=["rms", "layer", "batch"], repeats=1)
    assert [norm.shape for norm in profile.norms] == [(2, 3, 5, 8), (2, 5, 3, 8)]
    rms, layer, batch = profile.swapped
    assert rms.left_out == layer.left_out == ()
    assert rms.seconds is not None
    assert all("no form for NLC" in reason for reason in batch.left_out)


@pytest.mark.parametrize(
    ("module", "shape", "layout", "channels"),
    [
        (nn.LayerNorm(8), (8,), "NC", 8),
        (nn.LayerNorm(8), (4, 8), "NC", 8),
        (nn.LayerNorm(8), (4, 8, 8), "NLC", 8),
        (nn.LayerNorm(8), (4, 8, 8, 8), "NLC", 8),
        (nn.RMSNorm(8), (4, 2, 3, 5, 7, 8), "NLC", 8),
        (nn.LayerNorm([3, 5, 7]), (4, 3, 5, 7), "NCHW", 3),
        (nn.LayerNorm([5, 7]), (4, 3, 5, 7), "NLC", 7),
        (OwnRMSNorm(8), (4, 8, 8, 8), "NLC", 8),
        (nn.BatchNorm2d(3), (4, 3, 3, 3), "NCHW", 3),
        (nn.GroupNorm(1, 8), (4, 8, 8), "NCL", 8),
        (nn.GroupNorm(1, 8), (4, 8, 2, 2, 2), "NCDHW", 8),
        (nn.InstanceNorm1d(8), (4, 8, 5), "NCL", 8),
        (nn.GroupNorm(1, 8), (4, 8, 2, 2, 2, 2), None, 0),
        (nn.LayerNorm([]), (), None, 0),
    ],
)
def test_the_slot_of_a_norm_is_told_by_its_layer(
    module: nn.Module, shape: tuple[int, ...], layout: str | None, channels: int
) -> None:
    slot = find_slot(module, torch.ones(shape))
    assert (slot and slot.layout, slot.channels if slot else 0) == (layout, channels)


def test_positions_on_several_axes_are_one_axis_of_the_slot() -> None:
    assert find_slot(nn.LayerNorm(8), torch.ones(2, 3, 5, 8)).extent == (15,)


def test_norms_over_positions_are_left_out_where_these_are_on_several_axes() -> None:
    over_all = replace(parse("layer").spec, name="over-all", axes={"NLC": ("L", "C")})
    (swapped,) = normlab.profile_model(nn.LayerNorm(8), torch.ones(2, 5, 8), norms=over_all, repeats=1).swapped
    assert swapped.left_out == ()
    with pytest.raises(normlab.InputError, match="the statistics of over-all go over positions, which are on 2 axes"):
        normlab.profile_model(nn.LayerNorm(8), torch.ones(2, 3, 5, 8), norms=over_all, repeats=1)


@pytest.mark.parametrize(
    ("step", "norm", "words"),
    [
        ([1.0, 1.0, 1.0], [0.1, 0.1, 0.1], []),
        ([1.0, 1.0, 2.0], [0.1, 0.1, 0.1], ["half of the steps took 1000 (1000-1500) ms"]),
        ([1.0, 1.0, 1.0], [3e-4, 3e-4, 47e-3], ["the times of 1 (0.300 (0.300-23.7) ms) vary"]),
        ([1.0, 2.0, 3.0], [0.1, 0.5, 0.9], ["half of the steps took", "the times of 1 "]),
    ],
)
def test_a_busy_machine_is_said(
    monkeypatch: pytest.MonkeyPatch, step: list[float], norm: list[float], words: list[str]
) -> None:
    seconds = {"the whole step": step, "1": norm}
    monkeypatch.setattr(
        "normlab.profiling.models.interleave",
        lambda works, *_: {name: Timings([(total, 0.0) for total in seconds[name]]) for name in works},
    )
    profile = normlab.profile_model(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)), "3,4")
    assert len(profile.warnings) == len(words)
    for word, warning in zip(words, profile.warnings, strict=True):
        assert warning.startswith(word)
        assert "the machine is too busy" in warning
    said = [str(part) for part in tables(profile) if str(part).startswith("Beware: ")]
    assert said == [f"Beware: {warning}." for warning in profile.warnings]
    assert profile.to_dict()["warnings"] == profile.warnings


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_layers_need_a_batch_first() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LazyBatchNorm1d())
    for options in ({}, {"dtype": "float64"}):
        with pytest.raises(normlab.InputError, match=r"'1' \(LazyBatchNorm1d\), which .* Run a batch"):
            normlab.profile_model(model, "3,4", repeats=1, **options)
    model(torch.ones(3, 4))
    assert normlab.profile_model(model, "3,4", repeats=1).norms


def test_errors_of_torch_become_one_message() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))
    with pytest.raises(normlab.InputError, match="parameters on the device meta"):
        normlab.profile_model(nn.LayerNorm(8, device="meta"), "3,8", repeats=1)
    model.scratch = torch.ones(2, requires_grad=True) * 2
    assert normlab.profile_model(model, "3,4", dtype="float64", repeats=1).norms
    model.scratch = threading.Lock()
    with pytest.raises(normlab.InputError, match=r"only what can be copied; got 'scratch' \(lock\): TypeError"):
        normlab.profile_model(model, "3,4", dtype="float64", repeats=1)
    assert normlab.profile_model(model, "3,4", repeats=1).norms


def test_a_norm_that_does_not_run_a_second_time_is_named() -> None:
    class OnceNorm(nn.LayerNorm):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            OnceNorm.calls += torch.is_grad_enabled()  # a look at what it computes is no step
            if OnceNorm.calls > 2:
                raise KeyError("enough")
            return super().forward(x)

    model = nn.Sequential(nn.Linear(4, 8), OnceNorm(8))
    with pytest.raises(normlab.InputError, match="must run as often as it is timed; got KeyError: 'enough'"):
        normlab.profile_model(model, "3,4", repeats=1)
    assert not any(module._forward_hooks for module in model.modules())


def test_buffers_that_share_their_memory_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))
    model.register_buffer("mask", torch.ones(1).expand(5))
    assert normlab.profile_model(model, "3,4", repeats=1).norms
    assert model.mask.stride() == (0,)


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": 3},
        {"model": None},
        {"model": "mymodels"},
        {"model": [nn.LayerNorm(4)]},
        {"inputs": 5},
        {"inputs": None},
        {"inputs": "3,4:0"},
        {"inputs": f"3,4:{2**70}"},
        {"norms": 3},
        {"norms": [None]},
        {"dtype": 3},
        {"memory_format": 3},
        {"device": 3},
        {"repeats": 1.5},
        {"seconds": "x"},
        {"on_progress": 3},
    ],
    ids=str,
)
def test_arguments_of_other_kinds_are_refused_by_their_names(arguments: dict[str, object]) -> None:
    (name,) = arguments
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))
    with pytest.raises(normlab.InputError, match=name.removesuffix("s")) as refusal:
        normlab.profile_model(**{"model": model, "inputs": "3,4", "repeats": 1, **arguments})
    assert "--" not in str(refusal.value)


def test_inputs_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(4)

        def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
            return self.norm(x) * scale

    profile = normlab.profile_model(Named(), {"x": "3,4", "scale": torch.ones(4)}, repeats=1)
    assert profile.inputs == ((3, 4), (4,))
