"""Recalibration from loaders: exact population statistics, healed layers, and figures that say what moved."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import normlab
from normlab import norms
from normlab.surgery.recalibrate import HEALED, MEANS, SCALES


def images(samples: int = 22, seed: int = 1) -> Tensor:
    return torch.randn(samples, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 1


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5, momentum=None)]
    return nn.Sequential(*layers).double()


def square_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """E[x] and E[x^2] - E[x]^2 of each channel."""
    axes = (0, *range(2, x.dim()))
    return x.mean(axes), x.square().mean(axes) - x.mean(axes).square()


class Named(nn.Module):
    """A model that is called by names, as those of transformers are."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, pixels: Tensor, scale: Tensor | None = None) -> Tensor:
        return self.body(pixels if scale is None else pixels * scale.view(-1, 1, 1, 1))


class Pairs(Dataset[Any]):
    """A data set of dictionaries, with targets that the model does not take."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"pixels": images()[place], "labels": torch.tensor(place)}


LOADERS: dict[str, Callable[[], Any]] = {
    "tensor": images,
    "list": lambda: list(images().split(5)),
    "generator": lambda: (batch for batch in images().split(5)),
    "pairs": lambda: DataLoader(TensorDataset(images(), torch.arange(22)), batch_size=5),
    "shuffled": lambda: DataLoader(TensorDataset(images(), torch.arange(22)), batch_size=5, shuffle=True),
    "dictionaries": lambda: DataLoader(Pairs(), batch_size=5),
    "dictionaries with targets": lambda: [({"pixels": batch}, torch.zeros(5)) for batch in images().split(5)],
}


@pytest.mark.parametrize("kind", LOADERS)
def test_the_statistics_are_those_of_all_samples(kind: str) -> None:
    model: nn.Module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).double()
    if "dictionaries" in kind:
        model = Named(model)
    body = "body.1" if "dictionaries" in kind else "1"
    state = torch.get_rng_state()
    new, report = normlab.recalibrate(model, LOADERS[kind]())
    assert torch.equal(torch.get_rng_state(), state)
    assert report.layers == (body,)
    assert report.figures == {"samples": 22, "batches": 1 if kind == "tensor" else 5}
    arrived = new.get_submodule(body.replace("1", "0"))(images())
    mean, variance = square_moments(arrived)
    torch.testing.assert_close(new.get_submodule(body).running_mean, mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(new.get_submodule(body).running_var, variance, rtol=1e-11, atol=1e-12)
    assert torch.equal(model.get_submodule(body).running_mean, torch.zeros(4)), "the model stays as it is"


@pytest.mark.parametrize("kind", ["list", "pairs", "shuffled"])
def test_layer_by_layer_the_data_are_one_population_at_any_depth(kind: str) -> None:
    model = network()
    new, report = normlab.recalibrate(model, LOADERS[kind](), layer_by_layer=True)
    assert report.layers == ("1", "4")
    x = images()
    for convolution, norm in (new[:2], new[3:]):
        x = convolution(x)
        mean, variance = square_moments(x)
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-11, atol=1e-12)
        x = nn.functional.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps).relu()
    once, _ = normlab.recalibrate(model, LOADERS[kind]())
    assert not torch.allclose(once[4].running_var, new[4].running_var, rtol=1e-6), "one pass is not exact behind others"


def test_the_figures_are_the_distance_of_old_from_new_statistics() -> None:
    model, x = nn.Sequential(nn.BatchNorm2d(3, eps=0.5)).double(), images()
    with torch.no_grad():
        model[0].running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        model[0].running_var.copy_(torch.tensor([4.0, 1.0, 0.25]))
    old = copy.deepcopy(model)
    new, report = normlab.recalibrate(model, x)
    mean, variance = square_moments(x)
    deviation = (variance + 0.5).sqrt()
    (change,) = report.changes
    assert change.figures[MEANS] == pytest.approx(float(((old[0].running_mean - mean).abs() / deviation).mean()))
    expected = (torch.tensor([4.5, 1.5, 0.75]).double().sqrt() / deviation).log().abs().mean()
    assert change.figures[SCALES] == pytest.approx(float(expected))
    assert HEALED not in change.figures
    again = normlab.recalibrate(new, x)[1].changes[0]
    assert (again.figures[MEANS], again.figures[SCALES]) == (0.0, 0.0)
    assert f"means moved (deviations) {change.figures[MEANS]:.3g}" in report.text()
    assert "samples: 22" in report.text()


@pytest.mark.parametrize("layer_by_layer", [True, False])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_nan_and_infinity_are_healed_and_counted(poison: float, layer_by_layer: bool) -> None:
    sound, ill = network(), network()
    with torch.no_grad():
        ill[1].running_mean[2] = poison
        ill[4].running_var[:] = poison
    assert not all(buffer.isfinite().all() for buffer in ill.buffers())
    new, report = normlab.recalibrate(ill, images().split(5), layer_by_layer=layer_by_layer)
    expected, _ = normlab.recalibrate(sound, images().split(5), layer_by_layer=layer_by_layer)
    torch.testing.assert_close(new.state_dict(), expected.state_dict(), rtol=0, atol=0)
    first, second = report.changes
    assert (first.figures[HEALED], second.figures[HEALED]) == (1, 5)
    assert set(second.figures) == {HEALED}, "no distance from nan"
    assert all(value == value for value in first.figures.values())
    assert "channels healed 5" in report.text()


def test_a_number_of_batches_is_taken() -> None:
    new, report = normlab.recalibrate(nn.BatchNorm2d(3).double(), images().split(5), batches=2)
    assert report.figures == {"samples": 10, "batches": 2}
    torch.testing.assert_close(new.running_mean, images()[:10].mean((0, 2, 3)))
    with pytest.raises(normlab.InputError, match="`batches` must be a whole number of at least 1; got 0"):
        normlab.recalibrate(nn.BatchNorm2d(3), [], batches=0)


def test_in_place_weights_and_modes_stay() -> None:
    model = network().train()
    weights = {name: value.clone() for name, value in model.named_parameters()}
    same, _ = normlab.recalibrate(model, images().split(5), copy=False)
    assert same is model
    assert model[1].training
    assert all(torch.equal(weights[name], value) for name, value in model.named_parameters())
    assert int(model[4].num_batches_tracked) == 5, "an average over all batches counts those that it saw"


def test_each_pass_over_a_shuffling_loader_gives_the_same_batches() -> None:
    """Of a loader that drops the last batch, every pass must take the same samples, or no layer fits the others."""
    seen: list[Tensor] = []
    loader = DataLoader(TensorDataset(images()), batch_size=5, shuffle=True, drop_last=True)
    model = network()
    model.register_forward_pre_hook(lambda layer, arguments: seen.append(arguments[0]))
    normlab.recalibrate(model, loader, layer_by_layer=True)
    assert len(seen) == 12
    for first, second, third in zip(seen[:4], seen[4:8], seen[8:], strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, third)
    assert not torch.equal(seen[0], images()[:5]), "the loader does shuffle"


def test_what_is_left_is_named() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle, self.still = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
            self.frozen = norms.FrozenNorm(nn.BatchNorm2d(3))
            self.plain = nn.BatchNorm2d(3, track_running_stats=False)
            self.instance, self.own = nn.InstanceNorm2d(3, track_running_stats=True), nn.InstanceNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.own(self.instance(self.plain(self.frozen(self.still(self.used(x))))))

    model = Net().double().train()
    model.still.eval()
    new, report = normlab.recalibrate(model, images())
    assert report.layers == ("used",)
    reasons = {left.name: left.reason for left in report.left}
    assert set(reasons) == {"idle", "still", "frozen", "plain", "instance"}
    assert reasons["idle"] == "no batch reached it"
    assert "include_evaluating=True" in reasons["still"]
    assert reasons["frozen"] == "it is frozen"
    assert torch.equal(new.still.running_mean, torch.zeros(3))
    assert normlab.recalibrate(model, images(), include_evaluating=True)[1].layers == ("used", "still")


class Foreign(nn.Module):
    """A batch normalization that somebody wrote out, with names and shapes of its own, and an activation behind it."""

    def __init__(self, act: nn.Module | None = None) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, 4).view(1, 4, 1, 1))
        self.act, self.epsilon = act or nn.Identity(), 1e-3
        self.register_buffer("moving_mean", torch.zeros(1, 4, 1, 1))
        self.register_buffer("moving_variance", torch.ones(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.get_buffer("moving_mean"), self.get_buffer("moving_variance")
        if self.training:
            mean.lerp_(x.detach().mean((0, 2, 3), keepdim=True), 0.1)
            variance.lerp_(x.detach().var((0, 2, 3), correction=0, keepdim=True), 0.1)
            mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        output: Tensor = self.act((x - mean) * torch.rsqrt(variance + self.epsilon) * self.gamma)
        return output


@pytest.mark.parametrize("layer_by_layer", [True, False])
@pytest.mark.parametrize("act", [None, nn.ReLU()])
def test_a_class_of_ones_own_gets_what_torchs_gets(act: nn.Module | None, layer_by_layer: bool) -> None:
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
    ours = nn.Sequential(first, Foreign(act), last, Foreign()).double()
    norm = nn.BatchNorm2d(4, eps=1e-3)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, 4))
    theirs = nn.Sequential(first, norm, *([] if act is None else [act]), last, copy.deepcopy(norm)).double()
    with torch.no_grad():
        ours[1].moving_mean[:] = theirs[1].running_mean[:] = float("nan")
    new, report = normlab.recalibrate(ours, images().split(5), layer_by_layer=layer_by_layer)
    expected, told = normlab.recalibrate(theirs, images().split(5), layer_by_layer=layer_by_layer)
    for own, norm in ((new[1], expected[1]), (new[3], expected[-1])):
        torch.testing.assert_close(own.moving_mean.flatten(), norm.running_mean)
        torch.testing.assert_close(own.moving_variance.flatten(), norm.running_var)
    assert [(change.name, change.was) for change in report.changes] == [("1", "Foreign"), ("3", "Foreign")]
    assert report.changes[0].figures == pytest.approx(told.changes[0].figures)
    assert [type(layer) for layer in new] == [type(layer) for layer in ours], "nothing else stands there afterwards"
    assert report.left == ()


@pytest.mark.parametrize("act", [None, nn.ReLU()])
def test_a_class_of_ones_own_may_get_its_input_by_a_name(act: nn.Module | None) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = Foreign(act)

        def forward(self, images: Tensor) -> Tensor:
            output: Tensor = self.norm(x=images)
            return output

    x = torch.cat([images(), images()[:, :1]], 1).float()
    new, report = normlab.recalibrate(Net(), x)
    assert report.layers == ("norm",)
    assert torch.equal(new.norm.moving_mean, normlab.recalibrate(Foreign(act), x)[0].moving_mean)
    assert not new.norm._forward_pre_hooks


def test_classes_of_ones_own_that_are_left_are_named() -> None:
    class Clipped(Foreign):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).clamp(-2, 2)  # which no formula is

    model = nn.Sequential(Foreign(), nn.Sequential(Foreign(nn.ReLU())), nn.BatchNorm2d(4)).train()
    model[1].eval()
    x = torch.cat([images(), images()[:, :1]], 1).float()
    before = copy.deepcopy(model.state_dict())
    new, report = normlab.recalibrate(model, x)
    assert report.layers == ("0", "2")
    assert "include_evaluating=True" in report.reason("1.0")
    assert torch.equal(new[1][0].moving_mean, torch.zeros(1, 4, 1, 1))
    with pytest.raises(normlab.InputError, match="must take every batch"):
        normlab.recalibrate(model, [x, x[:, :3]], copy=False)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert isinstance(model[0], Foreign)
    assert normlab.recalibrate(Foreign(), x)[0].moving_mean.flatten().tolist() == pytest.approx(
        x.mean((0, 2, 3)).tolist()
    )
    half = Foreign().half().float()
    half.moving_variance = half.moving_variance.half()
    with pytest.raises(normlab.InputError, match=r"moving_variance of Foreign beyond torch\.float16"):
        normlab.recalibrate(half, x * 1e3)
    assert normlab.recalibrate(Clipped(), x)[1].layers == ()


def test_statistics_beyond_float16_are_refused_and_nothing_changes() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2).half())
    before = copy.deepcopy(model.state_dict())
    loader = [torch.tensor([[-900.0, 0.0], [900.0, 1.0]]).half()]
    with pytest.raises(normlab.InputError, match=r"running_var of BatchNorm1d beyond torch\.float16"):
        normlab.recalibrate(model, loader, copy=False)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    new, _ = normlab.recalibrate(model.float(), [loader[0].float()])
    assert float(new[0].running_var[0]) == 810_000


def test_names_that_the_model_does_not_take_are_named() -> None:
    with pytest.raises(normlab.InputError, match=r"must name arguments of the model \(pixels, scale\); got image"):
        normlab.recalibrate(Named(network()), [{"image": images()}])
    with pytest.raises(normlab.InputError, match="got a str in place 2"):
        normlab.recalibrate(network(), [images(), "images"])


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (images()[:, :2], r"batch 2, \(22, 2, 4, 4\) float64 \(RuntimeError: .*to have 3 channels, but got 2"),
        (images().long(), r"batch 2, \(22, 3, 4, 4\) int64 \(RuntimeError: Input type"),
        (images().flatten(1), r"batch 2, \(22, 48\) float64 \(RuntimeError"),
    ],
)
def test_a_batch_that_the_model_does_not_take_is_named_and_nothing_changes(batch: Tensor, said: str) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(normlab.InputError, match=rf"Sequential\(input\) must take every batch; got {said}"):
        normlab.recalibrate(model, [images(), batch], copy=False)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_model_of_several_inputs_says_what_it_takes() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return x * mask

    with pytest.raises(normlab.InputError, match=r"Masked\(x, mask\) must take every batch; .*'mask'"):
        normlab.recalibrate(Masked(), [images()])


def test_a_generator_that_ran_out_cannot_serve_layer_by_layer() -> None:
    def loader() -> Iterator[Tensor]:
        yield images()

    with pytest.raises(normlab.InputError, match="run through again"):
        normlab.recalibrate(network(), loader(), layer_by_layer=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"loader": None}, "`loader` must give batches of inputs; got None"),
        ({"loader": {"x": torch.zeros(2, 3, 4, 4)}}, "a mapping, which is one batch"),
        ({"loader": [images()], "batches": 1.5}, "`batches` must be a whole number of at least 1; got 1.5"),
        ({"loader": [images()], "copy": "shared"}, "`copy` must be True or False; got 'shared'"),
    ],
)
def test_what_is_no_loader_or_number_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(normlab.InputError) as raised:
        normlab.recalibrate(network(), **arguments)
    assert said in str(raised.value)


def test_a_model_without_running_statistics_is_told_so() -> None:
    _, report = normlab.recalibrate(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), [torch.zeros(3, 2)])
    assert str(report).startswith("recalibrate: 0 layers changed, as there is none that this is about\n")
