"""Every norm of the catalogue, found from it, goes where norms stand in models, or says why not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import normlab
from normlab.errors import InputError
from normlab.norms.catalog import NORMS


class Images(nn.Module):
    """BatchNorm of images between a convolution and an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.conv(x)))


class Tokens(nn.Module):
    """LayerNorm of tokens between a linear layer and an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.linear(x)))


# what is refused, and a word of the reason; all else must work
REFUSED = {
    ("images", "layer"): "layer2d",
    ("tokens", "layer-chw"): "no form",
    ("tokens", "instance"): "no form",
    ("tokens", "evonorm-b0"): "no form",
    ("tokens", "evonorm-s0"): "no form",
}
MODELS = {"images": (Images, (4, 3, 8, 8)), "tokens": (Tokens, (4, 5, 6))}


@pytest.mark.parametrize("spec", NORMS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("kind", MODELS)
def test_a_norm_trains_where_it_was_put_and_is_undone(kind: str, spec: normlab.NormSpec) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[kind]
    model, inputs = build(), torch.randn(shape)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model.eval()(inputs)
    model.train()
    if reason := REFUSED.get((kind, spec.name)):
        with pytest.raises(InputError, match=reason):
            normlab.swap(model, spec.name, example_inputs=inputs, copy=False)
    else:
        swapped, report = normlab.swap(model, spec.name, example_inputs=inputs, copy=False)
        output = swapped(inputs)
        assert output.shape == expected.shape
        output.square().sum().backward()
        for name, parameter in swapped.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        assert report.undo() is model
    if spec.name != "batch" or kind == "tokens":  # BatchNorm that stays has seen one more batch
        assert {name: value.tolist() for name, value in model.state_dict().items()} == {
            name: value.tolist() for name, value in before.items()
        }
