"""A whole swap: identities, what stays untouched, nothing after an error, and the way back."""

from __future__ import annotations

import html
import json
import pickle
import re
from copy import deepcopy

import pytest
import torch
from torch import nn

import normlab
from normlab.errors import ExecutionError, InputError
from normlab.surgery import swap as surgery


class Residual(nn.Module):
    """A block whose norm is also kept in a plain list, as some libraries do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norms = nn.ModuleDict({"main": nn.BatchNorm2d(channels)})
        self.order = [self.norms["main"]]
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.act(self.order[0](self.conv(x)))


class Net(nn.Module):
    """Nested containers, a shared norm under two names, and a norm of features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
        self.blocks = nn.ModuleList([Residual(12), Residual(12)])
        self.shared = nn.BatchNorm2d(12)
        self.again = self.shared
        self.head = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.stem(x))
        for block in self.blocks:
            x = self.again(block(x))
        return self.head(x.mean((2, 3)))


INPUTS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
NORMS = ("stem.1", "blocks.0.norms.main", "blocks.1.norms.main", "shared", "head.1")


@pytest.fixture
def net() -> Net:
    """A net that saw batches, so that none of its values is that of the start."""
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for _ in range(3):
            net(torch.randn(16, 3, 8, 8))
    return net


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> None:
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_same_is_an_identity_to_the_last_bit(net: Net) -> None:
    before = state(net)
    swapped, report = normlab.swap(net, "same", example_inputs=INPUTS)
    assert swapped is not net
    assert report.replaced == ()
    assert dict(report.changes) == {"evaluation": 0.0, "training": 0.0}
    assert_same(before, state(swapped))
    assert torch.equal(net.eval()(INPUTS), swapped.eval()(INPUTS))


def test_every_norm_is_replaced_and_nothing_else_touched(net: Net) -> None:
    before, modules = state(net), dict(net.named_modules(remove_duplicate=False))
    same, report = normlab.swap(net, "group:groups=4", copy=False)
    assert same is net
    assert report.replaced == NORMS
    for name, module in net.named_modules(remove_duplicate=False):
        wanted = name in NORMS or name == "again"
        assert isinstance(module, nn.GroupNorm) == wanted
        assert wanted or module is modules[name]
    assert net.again is net.shared
    assert net.blocks[0].order[0] is net.blocks[0].norms["main"]
    after = state(net)
    assert all(torch.equal(before[name], after[name]) for name in after), "weights, gamma and beta stay"
    assert report.entries[3].also == ("again",)


@pytest.mark.parametrize("to", ["group:groups=4", "none", "rms", {"batch": "layer2d", "head.1": "layer"}])
@pytest.mark.parametrize("copy", [True, False, "shared"])
def test_undo_restores_modules_and_bytes(net: Net, to: object, copy: bool | str) -> None:
    net.train()
    before, modules = state(net), dict(net.named_modules(remove_duplicate=False))
    swapped, report = normlab.swap(net, to, copy=copy, example_inputs=INPUTS)
    assert report.replaced
    swapped(INPUTS).sum().backward()
    back = report.undo()
    assert back is swapped
    assert_same(before, state(back))
    if copy is False:
        assert dict(net.named_modules(remove_duplicate=False)) == modules
    with pytest.raises(ExecutionError, match=r"undone once.*a later swap is undone by its own report"):
        report.undo()


@pytest.mark.parametrize("broken", ["_apply", "mend", "estimate", "outputs_of"])
def test_after_an_error_the_model_is_as_it_was(net: Net, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, modules = state(net), dict(net.named_modules(remove_duplicate=False))
    modes = [module.training for module in modules.values()]
    real = getattr(surgery, broken)

    def fail(*arguments: object, **named: object) -> None:
        if broken == "outputs_of" and not isinstance(net.shared, nn.GroupNorm):
            return real(*arguments, **named)
        if broken != "outputs_of":
            real(*arguments, **named)
        raise OSError("planted")

    monkeypatch.setattr(surgery, broken, fail)
    with pytest.raises(OSError, match="planted"):
        normlab.swap(net, "group:groups=4", copy=False, example_inputs=INPUTS)
    assert_same(before, state(net))
    assert dict(net.named_modules(remove_duplicate=False)) == modules
    assert [module.training for module in modules.values()] == modes
    assert net.blocks[0].order[0] is net.blocks[0].norms["main"]


def test_a_norm_that_makes_outputs_infinite_is_taken_out_again(net: Net) -> None:
    class Explosive(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 0.0

    before = state(net)
    with pytest.raises(ExecutionError, match="finite"):
        normlab.swap(net, Explosive, copy=False, example_inputs=INPUTS)
    assert_same(before, state(net))


def test_a_model_whose_code_reads_a_norm_is_told_so() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x) * self.norm.weight.mean()

    model = Reads()
    with pytest.raises(ExecutionError, match="no attribute 'weight'"):
        normlab.swap(model, "none", copy=False, example_inputs=torch.randn(2, 4))
    assert isinstance(model.norm, nn.LayerNorm)


def test_a_plan_that_cannot_be_carried_out_names_every_layer_and_changes_nothing(net: Net) -> None:
    before, modules = state(net), dict(net.named_modules(remove_duplicate=False))
    with pytest.raises(InputError) as raised:
        normlab.swap(net, "layer", copy=False, example_inputs=INPUTS)
    for name in NORMS[:-1]:
        assert f"{name}, " in str(raised.value) or f"{name}: " in str(raised.value)
    assert "- head.1: " not in str(raised.value)
    assert_same(before, state(net))
    assert dict(net.named_modules(remove_duplicate=False)) == modules


def test_the_model_itself_may_be_the_norm() -> None:
    norm = nn.BatchNorm2d(6)
    swapped, report = normlab.swap(norm, "group:groups=3", copy=False)
    assert isinstance(swapped, nn.GroupNorm)
    assert report.entries[0].name == ""
    assert report.undo() is norm


def test_a_preview_says_what_a_swap_does(net: Net) -> None:
    plan = surgery.preview(net, "group:groups=8", example_inputs=INPUTS)
    _, report = normlab.swap(net, "group:groups=8", example_inputs=INPUTS)
    assert [(one.name, one.now) for one in plan.entries] == [(one.name, one.now) for one in report.entries]
    assert not plan.applied
    assert isinstance(net.shared, nn.BatchNorm2d)


def test_random_numbers_go_on_as_if_nothing_had_happened(net: Net) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    normlab.swap(net, "group:groups=4", example_inputs="4,3,8,8")
    assert torch.equal(torch.rand(3), expected)


def test_modes_and_gradients_stay_off_where_they_were_off(net: Net) -> None:
    net.eval()
    net.stem.train()
    net.stem[1].weight.requires_grad_(False)
    swapped, _ = normlab.swap(net, "group:groups=4")
    assert swapped.stem[1].training
    assert not swapped.shared.training
    assert not swapped.stem[1].weight.requires_grad
    assert swapped.stem[1].bias.requires_grad


def test_type_and_eps_are_those_of_the_old_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, eps=1e-3)).double()
    swapped, _ = normlab.swap(model, "group:groups=2")
    assert (swapped[1].weight.dtype, swapped[1].eps) == (torch.float64, 1e-3)
    stated, _ = normlab.swap(model, "group:groups=2,eps=1e-5")
    assert stated[1].eps == 1e-5


def test_the_optimizer_follows_and_training_goes_on(net: Net) -> None:
    optimizer = torch.optim.Adam(net.parameters())
    net(INPUTS).sum().backward()
    optimizer.step()
    swapped, report = normlab.swap(net, "group:groups=4", copy=False, optimizer=optimizer)
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert held == {id(one) for one in swapped.parameters()}
    assert optimizer.state[swapped.stem[1].weight]["step"] == 1
    assert "10 with their state" in report.optimizer


@pytest.mark.parametrize(("axes", "shape"), [((5,), (2, 3, 5)), ((4, 5), (2, 3, 4, 5)), ((5,), (2, 3, 4, 5))])
def test_layer_norms_stay_layer_norms_whatever_the_axes(axes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = nn.LayerNorm(axes)
    with torch.no_grad():
        norm.weight.normal_()
    model = nn.Sequential(nn.Identity(), norm)
    inputs = torch.randn(shape)
    if len(axes) == 1:
        swapped, report = normlab.swap(model, "layer", example_inputs=inputs)
        assert report.entries[0].action == "keep"
        assert torch.equal(swapped(inputs), model(inputs))
        own, _ = normlab.swap(model, nn.LayerNorm, example_inputs=inputs)
        assert torch.equal(own(inputs), model(inputs))
    else:
        with pytest.raises(InputError):
            normlab.swap(model, "rms", where="1", example_inputs=inputs)


def test_query_key_norms_are_taken_along_the_last_axis() -> None:
    norm = nn.LayerNorm(4)
    inputs = torch.randn(2, 3, 5, 4)  # B,H,L,D
    swapped, _ = normlab.swap(nn.Sequential(norm), "rms:eps=1e-6", example_inputs=inputs)
    expected = inputs / (inputs.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(swapped(inputs), expected, atol=1e-6)


def test_positions_apart_leak_nothing_and_together_share_statistics() -> None:
    model = nn.Sequential(nn.LayerNorm(8))
    inputs = torch.randn(3, 5, 8)
    later = inputs.clone()
    later[:, -1] += 10.0
    apart, report = normlab.swap(model, "group:groups=2")
    assert torch.equal(apart(inputs)[:, :-1], apart(later)[:, :-1])
    assert "each position by itself" in report.entries[0].notes
    together, _ = normlab.swap(model, "group:groups=2", positions="together", example_inputs=inputs)
    expected = nn.GroupNorm(2, 8)(inputs.transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(together(inputs), expected, atol=1e-6)
    assert not torch.allclose(together(inputs)[:, :-1], together(later)[:, :-1])


def test_evaluation_of_an_encoder_is_that_of_training_with_another_norm() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    inputs = torch.randn(2, 5, 8)
    swapped, _ = normlab.swap(layer, "rms", example_inputs=inputs)
    with torch.no_grad():
        expected = swapped.train()(inputs)
        assert torch.allclose(swapped.eval()(inputs), expected, atol=1e-5)


def test_a_wrapped_model_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"\.module"):
        normlab.swap(nn.DataParallel(nn.Sequential(nn.BatchNorm1d(3))), "layer")


def test_lazy_layers_are_told_to_run_once() -> None:
    with pytest.raises(InputError, match="Run a batch"):
        normlab.swap(nn.Sequential(nn.LazyBatchNorm1d()), "layer")


def test_statistics_come_from_example_inputs_where_the_old_norm_had_none() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.GroupNorm(2, 6))
    inputs = torch.randn(8, 3, 5, 5) * 3 + 1
    swapped, report = normlab.swap(model, "batch", example_inputs=inputs)
    arriving = model[0](inputs)
    assert torch.allclose(swapped[1].running_mean, arriving.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(swapped[1].running_var, arriving.var((0, 2, 3), correction=0), rtol=1e-4)
    assert torch.allclose(swapped.train()(inputs), swapped.eval()(inputs), atol=1e-2)
    assert any("estimated" in note for note in report.notes)


def test_one_sample_is_too_few_for_a_norm_of_the_batch_and_says_so_before() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    with pytest.raises(InputError, match="Give `example_inputs` of two samples or more"):
        normlab.swap(model, "batch", example_inputs=torch.randn(1, 4))
    coupled = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    _, report = normlab.swap(coupled, "ghost:size=2", example_inputs=torch.randn(1, 4))
    assert any("did not run in training mode before" in warning for warning in report.warnings)


def test_a_layer_norm_over_the_positions_of_each_channel_is_named() -> None:
    with pytest.raises(InputError, match=r"over a whole sample; got '0' over the last 2 of input"):
        normlab.swap(nn.Sequential(nn.LayerNorm([5, 5])), "rms", example_inputs=torch.randn(2, 5, 5, 5))


def test_a_layer_norm_over_positions_and_features_last_is_not_taken_for_channels_first() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm((10, 8)))
    with pytest.raises(InputError, match="must have the channels first; got '1' behind '0'"):
        normlab.swap(model, "batch", example_inputs="16,10,4")


def test_a_norm_with_an_activation_takes_the_place_of_norm_and_activation() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
    inputs = torch.randn(4, 3, 5, 5)
    swapped, report = normlab.swap(model, "frn", example_inputs=inputs)
    assert isinstance(swapped[2], nn.Identity)
    assert isinstance(report.undo()[2], nn.ReLU)


def test_a_norm_of_weights_parametrizes_the_layer_before_and_can_be_undone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU()).eval()
    inputs = torch.randn(4, 3, 5, 5)
    expected, before = model(inputs), state(model)
    swapped, report = normlab.swap(model, "weight", example_inputs=inputs, copy=False)
    assert torch.allclose(swapped(inputs), expected, atol=1e-4)
    assert nn.utils.parametrize.is_parametrized(swapped[0])
    report.undo()
    assert_same(before, state(model))
    assert type(model[0]) is nn.Conv2d


@pytest.mark.parametrize("to", ["weight", "spectral", "standardized"])
@pytest.mark.parametrize("before", [nn.ReLU(), nn.PReLU(6), nn.LayerNorm(6)], ids=lambda layer: type(layer).__name__)
def test_a_norm_of_weights_needs_a_layer_with_weights_before_it(before: nn.Module, to: str) -> None:
    model = nn.Sequential(nn.Linear(6, 6), before, nn.BatchNorm1d(6))
    with pytest.raises(InputError, match="the weights of the layer before it, which this model does not name"):
        normlab.swap(model, to, where="2", example_inputs=torch.randn(4, 6))


def test_a_layer_before_several_norms_is_normalized_once() -> None:
    shared, inputs = nn.Linear(4, 4), torch.randn(5, 4)
    model = nn.Sequential(shared, nn.BatchNorm1d(4), nn.ReLU(), shared, nn.BatchNorm1d(4)).eval()
    expected, before = model(inputs), state(model)
    swapped, report = normlab.swap(model, "weight", example_inputs=inputs, copy=False)
    assert len(swapped[0].parametrizations.weight) == 1
    assert swapped[0] is swapped[3]
    torch.testing.assert_close(swapped(inputs), expected, rtol=1e-4, atol=1e-4)
    report.undo()
    assert_same(before, state(model))


def test_tied_weights_are_not_torn_apart() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    with pytest.raises(InputError, match="whose weights no other part has; got '0', tied to '2'"):
        normlab.swap(model, "weight", example_inputs=torch.randn(5, 4))


def test_the_report_is_plain_data_and_a_table(net: Net) -> None:
    _, report = normlab.swap(net, {"batch": "group:groups=8"}, where={"*": True, "head": False}, example_inputs=INPUTS)
    data = report.as_dict()
    assert data["replaced"] == 4
    assert [layer["name"] for layer in data["layers"]] == list(NORMS)
    assert data["layers"][-1]["reason"] == "left out by 'head'"
    assert set(data["changes"]) == {"evaluation", "training"}
    lines = report.text().splitlines()
    assert lines[1].split()[:3] == ["stem.1", "BatchNorm2d", "group:groups=6"]
    assert "4 norms replaced of 5, 0 kept as asked, 1 left alone." in lines


def test_a_copy_leaves_the_model_alone(net: Net) -> None:
    twin = deepcopy(net)
    normlab.swap(net, "group:groups=4", example_inputs=INPUTS)
    assert_same(state(twin), state(net))
    assert isinstance(net.shared, nn.BatchNorm2d)


def test_shared_copies_hold_the_tensors_that_stay(net: Net) -> None:
    swapped, _ = normlab.swap(net, "group:groups=4", copy="shared")
    assert swapped.stem[0] is not net.stem[0]
    assert swapped.stem[0].weight is net.stem[0].weight
    assert swapped.stem[1].weight is not net.stem[1].weight


@pytest.mark.parametrize(("samples", "value", "said"), [(2, torch.nan, "not finite before"), (0, 1.0, "are empty")])
def test_what_says_nothing_of_the_outputs_gives_no_figure(samples: int, value: float, said: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    _, report = normlab.swap(model, "group:groups=1", example_inputs=torch.full((samples, 3, 4, 4), value))
    assert not report.changes
    assert [said in warning for warning in report.warnings] == [True, True]
    json.dumps(report.as_dict(), allow_nan=False)


def test_a_notebook_shows_every_cell_of_the_table_and_takes_nothing_for_markup() -> None:
    class Odd(nn.LayerNorm):
        pass

    Odd.__name__ = "<b>&"
    model = nn.Sequential(nn.Linear(3, 4), Odd(4), nn.BatchNorm1d(4))
    _, report = normlab.swap(model, "group:groups=8")
    shown = report._repr_html_()
    assert shown.count("<tr>") == 3
    cells = re.findall("<td>(.*?)</td>", shown)
    assert [html.unescape(cell) for cell in cells] == [cell for row in report.rows for cell in row]
    assert "<b>" not in shown
    assert report.sentence in shown
    assert normlab.freeze(model)[1].text() == html.unescape(
        normlab.freeze(model)[1]._repr_html_().removeprefix("<pre>").removesuffix("</pre>")
    )


def test_a_report_from_a_file_says_the_same_and_undoes_nothing() -> None:
    swapped, report = normlab.swap(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), "rms")
    for copied in (pickle.loads(pickle.dumps(report)), deepcopy(report)):
        assert copied.text() == report.text()
        with pytest.raises(ExecutionError, match="no copy of it"):
            copied.undo()
    assert isinstance(report.undo()[1], nn.LayerNorm)
    assert isinstance(swapped[1], nn.LayerNorm)


@pytest.mark.parametrize("copy", [True, False])
def test_an_undone_swap_leaves_no_layer_in_another_mode_than_the_model(copy: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[1].eval()  # as somebody freezes statistics
    swapped, report = normlab.swap(model, "layer", copy=copy)
    assert [layer.training for layer in report.undo()] == [True, False, True, True]
    swapped, report = normlab.swap(model, "layer", copy=copy)
    swapped.eval()
    assert not any(layer.training for layer in report.undo())


def test_one_layer_for_several_places_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    one = nn.GroupNorm(2, 4)
    with pytest.raises(InputError, match="the same GroupNorm for '1' and '3'"):
        normlab.swap(model, lambda channels: one, copy=False)
    assert isinstance(model[1], nn.BatchNorm1d)


def test_layers_with_the_same_reason_share_a_line_that_names_them_all() -> None:
    model = nn.Sequential(*(nn.BatchNorm2d(8 + place % 2) for place in range(100)))
    with pytest.raises(InputError) as raised:
        normlab.swap(model, "group:groups=5", strict=True)
    first, *lines = str(raised.value).splitlines()
    assert "got 100 that have none" in first
    assert 2 <= len(lines) < 8
    named = [name for line in lines for name in line.removeprefix("  - ").partition(": ")[0].split(", ")]
    assert sorted(named, key=int) == [str(place) for place in range(100)]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (torch.zeros(2, 3).numpy(), "`example_inputs` must be tensors, or shapes as text; got a numpy array"),
        (torch.zeros(2, 3, device="meta"), "inputs must hold numbers; got a tensor on the device meta"),
        (torch.zeros(2, 5), "Give inputs that fit: `example_inputs=8,3,224,224`"),
        (3, "`example_inputs` must be tensors"),
    ],
)
def test_inputs_that_do_not_fit_are_told_by_the_name_of_the_argument(inputs: object, said: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    for operation in (lambda: normlab.swap(model, "layer", example_inputs=inputs), lambda: normlab.fold(model, inputs)):
        with pytest.raises(InputError) as raised:
            operation()
        assert said in str(raised.value)


def test_swaps_are_undone_in_the_order_in_which_they_stand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    norm = model[1]
    _, first = normlab.swap(model, "group:groups=4", copy=False)
    _, second = normlab.swap(model, "group:groups=2", copy=False)
    with pytest.raises(InputError, match=r"got GroupNorm at '1'. Undo what was done to the model later first"):
        first.undo()
    assert model[1].num_groups == 2
    second.undo()
    first.undo()
    assert model[1] is norm


def test_layers_in_tuples_within_tuples_are_followed() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.stages = (("first", (self.norm,)), 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.stages[0][1][0](x)

    model = Listed()
    before = model.stages
    model, report = normlab.swap(model, "layer", copy=False)
    assert model.stages == (("first", (model.norm,)), 3)
    report.undo()
    assert model.stages == before
