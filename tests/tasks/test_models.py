"""Models of tasks against torch's own, and what their options change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from normlab.norms.assignment import parse_assignment
from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Slot
from normlab.tasks import models
from normlab.tasks.catalog import find_task
from normlab.tasks.models.recurrent import FORGET_BIAS, LSTMCell, StepNorm
from normlab.tasks.models.transformer import Sublayer
from normlab.tasks.transformer import TransformerOptions
from task_training import built, tensor

FITTING = [spec.name for spec in NORMS if parse(spec.name).refusal(Slot(8, "NLC", (5,)), batch_size=4) is None]


def recurrent(cell: str, norm: str = "none", *, per_step: bool = True, gain: float = 1.0) -> models.RecurrentNet:
    make = parse_assignment(norm).build
    return models.RecurrentNet(cell, (5, 3), 2, 4, per_step, gain, make)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_net_without_norms_is_torchs(cell: str) -> None:
    net = recurrent(cell)
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](3, 4, batch_first=True)
    order = [0, 1, 3, 2] if cell == "lstm" else [0, 1, 2]  # torch's LSTM has the gates i, f, g, o

    def reordered(rows: Tensor) -> Tensor:
        return torch.cat([rows.chunk(len(order))[gate] for gate in order])

    with torch.no_grad():
        bias = net.cell.input.bias.clone()
        if cell == "lstm":
            bias[4:8] += FORGET_BIAS
        theirs.weight_ih_l0.copy_(reordered(net.cell.input.weight))
        theirs.weight_hh_l0.copy_(reordered(net.cell.recurrent.weight))
        theirs.bias_ih_l0.copy_(reordered(bias))
        theirs.bias_hh_l0.zero_()
    x = torch.randn(6, 5, 3)
    torch.testing.assert_close(net(x), net.linear(theirs(x)[0][:, -1]))
    torch.testing.assert_close(net(x.flatten(1)), net(x))


def test_recurrent_batch_norm_has_statistics_of_each_step_and_one_gain() -> None:
    """Sequences whose scale grows from step to step: each step is normalized by its own."""
    norm = StepNorm(nn.BatchNorm1d(3, momentum=1.0), steps=4)
    assert [name for name, _ in norm.named_parameters()] == ["steps.0.weight", "steps.0.bias"]
    x = torch.randn(50, 4, 3) * torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None]
    outputs = torch.stack([norm(x[:, step], step) for step in range(4)], dim=1)
    torch.testing.assert_close(outputs.var(dim=0, correction=0), torch.ones(4, 3), rtol=1e-4, atol=1e-4)
    variances = torch.stack([layer.running_var for layer in norm.steps])
    torch.testing.assert_close(variances, x.var(dim=0))
    torch.testing.assert_close(norm.eval()(x[:, 3], 7), norm.steps[3](x[:, 3]))  # beyond the last


def test_shared_statistics_are_those_of_all_steps() -> None:
    nets = {per_step: recurrent("lstm", "batch", per_step=per_step) for per_step in (True, False)}
    nets[False].load_state_dict(nets[True].state_dict(), strict=False)
    x = torch.randn(40, 5, 3)
    torch.testing.assert_close(nets[True](x), nets[False](x))  # in training each step has its batch
    kept = [sum(name.endswith("running_mean") for name, _ in net.named_buffers()) for net in nets.values()]
    assert kept == [3 * 5, 3]
    assert [len(list(net.parameters())) for net in nets.values()] == [11, 11]
    nets[True].eval(), nets[False].eval()
    assert (nets[True](x) - nets[False](x)).abs().max() > 1e-3


def test_norms_go_into_the_roles_that_are_named() -> None:
    def kinds(text: str) -> list[str]:
        cell = recurrent("lstm", text).cell
        assert isinstance(cell, LSTMCell)
        return [type(norm.steps[0]).__name__ for norm in (cell.input_norm, cell.recurrent_norm, cell.cell_norm)]

    assert kinds("layer") == ["LayerNorm"] * 3
    assert kinds("recurrent-gate=layer,cell=batch") == ["Identity", "LayerNorm", "BatchNorm1d"]
    assert isinstance(recurrent("lstm", "layer").norm, nn.Identity)
    assert isinstance(recurrent("lstm", "output=layer").norm, nn.LayerNorm)


def test_weight_normalization_wraps_a_layer_once_whatever_the_number_of_steps() -> None:
    net = built(find_task("digits-gru"), norms="input-gate=weight")
    assert sorted(name for name, _ in net.named_parameters() if "cell.input" in name) == [
        "cell.input.bias",
        "cell.input.parametrizations.weight.original0",
        "cell.input.parametrizations.weight.original1",
    ]


def test_the_gain_of_norms_in_the_cell_starts_where_it_is_told() -> None:
    net = recurrent("lstm", "batch,output=batch", gain=0.1)
    with torch.no_grad():
        gains = {name: float(value.mean()) for name, value in net.named_parameters() if name.endswith("0.weight")}
    assert gains == pytest.approx(dict.fromkeys(gains, 0.1))
    assert len(gains) == 3
    assert float(net.norm.weight.detach().mean()) == 1


@pytest.mark.parametrize("norm", ["batch", "group:groups=2", "none", "bias"])
def test_with_zero_gamma_blocks_start_as_their_shortcuts(norm: str) -> None:
    task = find_task("digits-resnet")
    net = built(task, task.with_options({"hidden": (4, 6), "blocks": 2, "zero_gamma": True}), norm)
    assert isinstance(net, models.ResidualNet)
    x = torch.randn(5, 4, 8, 8)
    for block in net.blocks:
        if norm in {"none", "bias"}:  # no gain to start at 0
            assert not torch.allclose(block(x), torch.relu(block.shortcut(x)))
        else:
            torch.testing.assert_close(block(x), torch.relu(block.shortcut(x)))
        x = block(x)


def test_the_residual_net_computes_what_it_says() -> None:
    net = built(find_task("digits-resnet"), norms="batch")
    assert isinstance(net, models.ResidualNet)
    images = torch.rand(7, 64)
    x = net.activation(net.norm(net.convolution(images.reshape(7, 1, 8, 8))))
    for block in net.blocks:
        inner = block.norm2(block.convolution2(torch.relu(block.norm1(block.convolution1(x)))))
        x = torch.relu(block.shortcut(x) + inner)
    assert x.shape == (7, 32, 4, 4)
    torch.testing.assert_close(net(images), net.linear(x.mean(dim=(2, 3))))


def transformer(placement: str = "pre", norm: str = "layer", *, depth: int = 1, causal: bool = False) -> nn.Module:
    return models.Transformer(7, 5, (8, depth, 2), placement, causal, parse_assignment(norm).build)  # type: ignore[arg-type]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_a_block_is_torchs_encoder_layer(placement: str, causal: bool) -> None:
    ours = transformer(placement, causal=causal)
    theirs = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=placement == "pre")
    attention, feed_forward = ours.sublayers
    f = attention.function
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([f.query.weight, f.key.weight, f.value.weight]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([f.query.bias, f.key.bias, f.value.bias]))
        theirs.self_attn.out_proj.load_state_dict(f.output.state_dict())
    theirs.linear1.load_state_dict(feed_forward.function[0].state_dict())
    theirs.linear2.load_state_dict(feed_forward.function[2].state_dict())
    x = torch.randn(3, 5, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    torch.testing.assert_close(ours.sublayers(x), theirs(x, src_mask=mask, is_causal=causal))


@pytest.mark.parametrize("placement", ["pre", "post", "sandwich", "deepnorm"])
def test_norms_stand_where_the_placement_says(placement: str) -> None:
    norm, double = nn.LayerNorm(4), nn.Linear(4, 4)
    x = torch.randn(2, 3, 4)
    made = Sublayer(double, placement, 1.5, Slot(4, "NLC", (3,)), "", lambda slot: norm)  # type: ignore[arg-type]
    wanted = {
        "pre": x + double(norm(x)),
        "post": norm(x + double(x)),
        "sandwich": x + norm(double(norm(x))),
        "deepnorm": norm(1.5 * x + double(x)),
    }
    alpha = 1.0 if placement == "post" else 1.5
    made.alpha = alpha
    torch.testing.assert_close(made(x), wanted[placement])


def test_deepnorm_has_its_papers_constants() -> None:
    """Figure 2 of arXiv:2203.00555, encoder or decoder alone: N blocks, alpha (2N)^1/4, beta (8N)^-1/4."""
    net = models.Transformer(7, 5, (64, 8, 2), "deepnorm", False, lambda slot: nn.Identity())
    assert all(sublayer.alpha == pytest.approx(2.0) for sublayer in net.sublayers)
    beta = 64**-0.25

    def spread(layer: nn.Linear) -> float:  # in units of Glorot's
        return float(layer.weight.detach().std()) / (2 / (layer.in_features + layer.out_features)) ** 0.5

    attentions, networks = (list(net.sublayers)[start::2] for start in (0, 1))
    for names, factor in ((("query", "key"), 1.0), (("value", "output"), beta)):
        found = [spread(attention.function.get_submodule(name)) for attention in attentions for name in names]
        assert np.mean(found) == pytest.approx(factor, rel=0.02)
    found = [spread(network.function.get_submodule(name)) for network in networks for name in ("0", "2")]
    assert np.mean(found) == pytest.approx(beta, rel=0.02)
    assert all(not layer.bias.any() for layer in net.sublayers.modules() if isinstance(layer, nn.Linear))


@pytest.mark.parametrize("causal", [False, True])
def test_a_causal_transformer_does_not_look_ahead(causal: bool) -> None:
    net = transformer(norm="layer,query-key=rms", depth=2, causal=causal)
    tokens = torch.randint(7, (4, 5))
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 7
    same = torch.isclose(net(tokens), net(changed)).all(dim=-1).all(dim=0)
    assert same.tolist() == ([True, True, True, False, False] if causal else [False] * 5)


@pytest.mark.parametrize("norm", FITTING)
def test_no_norm_that_fits_lets_a_causal_transformer_look_ahead(norm: str) -> None:
    """A statistic over the tokens of a sample would tell each token of those that follow."""
    net = transformer(norm=norm, depth=2, causal=True).eval()
    tokens = torch.randint(7, (4, 5))
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 7
    assert torch.equal(net(tokens)[:, :3], net(changed)[:, :3])


def test_query_key_norms_see_each_head_by_itself() -> None:
    plain, normed = (transformer(norm=norm) for norm in ("none", "none,query-key=unit"))
    normed.load_state_dict(plain.state_dict(), strict=False)
    seen: list[Tensor] = []
    attention = normed.sublayers[0].function
    attention.query_norm.register_forward_hook(lambda *given: seen.append(given[2]))
    tokens = torch.randint(7, (4, 5))
    assert (plain(tokens) - normed(tokens)).abs().max() > 1e-4
    (queries,) = seen
    assert queries.shape == (4, 2 * 5, 4)
    torch.testing.assert_close(queries.norm(dim=-1), queries.norm(dim=-1)[:1, :1].expand(4, 10))


@pytest.mark.parametrize(
    ("placement", "roles"),
    [
        ("pre", {"block": 4, "output": 1, "query-key": 4}),
        ("post", {"block": 4, "query-key": 4}),
        ("sandwich", {"block": 8, "output": 1, "query-key": 4}),
        ("deepnorm", {"block": 4, "query-key": 4}),
    ],
)
def test_roles_of_a_transformer(placement: str, roles: dict[str, int]) -> None:
    slots = find_task("reversal").slots_of(TransformerOptions(placement=placement))  # type: ignore[arg-type]
    assert {role: sum(slot.role == role for slot in slots) for role in {slot.role for slot in slots}} == roles
    assert all(slot.optional == (slot.role == "query-key") for slot in slots)
    assert {slot.channels for slot in slots if slot.role == "query-key"} == {8}


def test_tokens_stay_whole_numbers_whatever_the_dtype() -> None:
    task = find_task("reversal")
    part = task.data(0, 0).training.take(slice(3))
    net = built(task).double()
    assert net(tensor(part.inputs)).dtype == torch.float64
    assert part.inputs.dtype == np.int64


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match=r"multiple of heads; got 30 and 4\. Try width 32\."):
        TransformerOptions(width=30, heads=4)
