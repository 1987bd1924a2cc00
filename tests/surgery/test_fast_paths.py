"""Encoder layers of torch compute in evaluation without gradients what they compute with them."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normlab.surgery.edits import Edits
from normlab.surgery.fast_paths import guard_fast_paths

PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])


class Twice(nn.LayerNorm):
    """A norm of a user, with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Layer(nn.TransformerEncoderLayer):
    """A subclass of a user."""

    def _ff_block(self, x: Tensor) -> Tensor:
        return super()._ff_block(x) + x


class Scaled(nn.TransformerEncoderLayer):
    """A subclass with a forward of its own that calls torch's."""

    def forward(self, *args: Tensor, **named: Any) -> Tensor:
        return 1.5 * super().forward(*args, **named)


NORMS: dict[str, Callable[[], nn.Module]] = {
    "rms": lambda: nn.RMSNorm(8, eps=1e-5),
    "no-bias": lambda: nn.LayerNorm(8, bias=False),
    "subclass": lambda: Twice(8),
    "identity": nn.Identity,
    "other": lambda: nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)),
}


def encoder(kind: type[nn.TransformerEncoderLayer] = nn.TransformerEncoderLayer, **options: bool) -> nn.Module:
    torch.manual_seed(0)
    layer = kind(8, 2, 16, batch_first=True, dropout=0.0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that nested tensors do not go with norm_first
        return nn.TransformerEncoder(layer, 2)


def replace(model: nn.Module, make: Callable[[], nn.Module]) -> list[nn.Module]:
    new = []
    for layer in model.layers:
        layer.norm1, layer.norm2 = make(), make()
        new += [layer.norm1, layer.norm2]
    return new


def both(model: nn.Module, **named: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs in evaluation, without and with gradients; positions of padding aside."""
    x = torch.linspace(-2, 2, 80).view(2, 5, 8).sin()
    model.eval()
    with torch.no_grad():
        fast = model(x, **named)
    kept = ~PADDING if named else slice(None)
    return fast[kept], model(x, **named)[kept]


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("kind", [nn.TransformerEncoderLayer, Layer, Scaled])
def test_evaluation_without_gradients_computes_what_is_there(
    name: str, kind: type[nn.TransformerEncoderLayer], norm_first: bool
) -> None:
    model = encoder(kind, norm_first=norm_first)
    guard_fast_paths(model, replace(model, NORMS[name]))
    for named in ({}, {"src_key_padding_mask": PADDING}):
        torch.testing.assert_close(*both(model, **named))
        torch.testing.assert_close(both(model, **named)[1], both(model.train(), **named)[1])


def test_plain_torch_computes_another_norm_or_raises() -> None:
    model = encoder()
    replace(model, NORMS["subclass"])
    without, with_gradients = both(model)
    assert not torch.allclose(without, with_gradients, atol=0.1)  # LayerNorm, silently
    for name, attribute in (("rms", "bias"), ("identity", "eps")):
        replace(model, NORMS[name])
        with pytest.raises(AttributeError, match=f"no attribute '{attribute}'"):
            both(model)


def test_nested_tensors_read_norms_as_well() -> None:
    model = encoder()
    replace(model, NORMS["rms"])
    for layer in model.layers:
        layer.activation_relu_or_gelu = 0  # the guard of the layers alone
    with pytest.raises(AttributeError, match="bias"):
        both(model, src_key_padding_mask=PADDING)
    guard_fast_paths(model)
    torch.testing.assert_close(*both(model, src_key_padding_mask=PADDING))


def test_a_guard_outlives_copies_pickles_and_compilation() -> None:
    model = encoder()
    guard_fast_paths(model, replace(model, NORMS["subclass"]))
    expected = both(model)[1]
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for other in (
        copy.deepcopy(model),
        torch.load(stream, weights_only=False),
        torch.compile(model, backend="eager"),
    ):
        torch.testing.assert_close(both(other)[0], expected)
    fresh = encoder()
    guard_fast_paths(fresh, replace(fresh, NORMS["subclass"]))
    assert fresh.state_dict().keys() == encoder().state_dict().keys()
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(both(fresh)[0], expected)


def test_undo_allows_the_fast_path_again() -> None:
    model = encoder()
    before = both(model)[0]
    old = [(layer.norm1, layer.norm2) for layer in model.layers]
    edits = Edits(model)
    paths = guard_fast_paths(model, replace(model, NORMS["rms"]), edits.change)
    assert [guard.name for guard in paths.guards] == ["layers.0", "layers.1", ""]
    edits.undo()
    for layer, (first, second) in zip(model.layers, old, strict=True):
        layer.norm1, layer.norm2 = first, second
    assert torch.equal(both(model)[0], before)
    assert model.layers[0].activation_relu_or_gelu == 1
    assert model.use_nested_tensor


def test_only_layers_that_need_it_are_guarded() -> None:
    model = encoder()
    assert guard_fast_paths(model).guards == ()
    assert guard_fast_paths(model, replace(model, lambda: nn.LayerNorm(8, eps=0.1))).guards == ()
    torch.testing.assert_close(*both(model))
    model.layers[1].norm2 = nn.RMSNorm(8)
    assert [guard.name for guard in guard_fast_paths(model, [model.layers[1].norm2]).guards] == ["layers.1", ""]
    torch.testing.assert_close(*both(model))


def test_attention_and_decoders_compute_no_norm_on_their_fast_path() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    layer.norm1, layer.norm2, layer.norm3 = (nn.RMSNorm(8, eps=1e-5) for _ in range(3))
    assert guard_fast_paths(layer).guards == ()
    x = torch.linspace(-2, 2, 80).view(2, 5, 8).sin()
    layer.eval()
    with torch.no_grad():
        without = layer(x, x)
    torch.testing.assert_close(without, layer(x, x))


def test_a_fast_path_in_code_of_a_user_is_named() -> None:
    class Own(nn.TransformerEncoderLayer):
        def forward(self, src: Tensor, *masks: Tensor, **named: bool) -> Tensor:
            if not self.training:
                return torch._transformer_encoder_layer_fwd(src)  # with all the weights, in truth
            return super().forward(src, *masks, **named)

    model = nn.Sequential(Own(8, 2, 16, batch_first=True))
    model[0].norm1 = nn.RMSNorm(8)
    assert guard_fast_paths(model, [model[0].norm1]).unguarded == ("0",)
    assert guard_fast_paths(model).unguarded == ("0",)
