"""A traced forward pass shows what arrives where, and leaves no trace itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normlab import InputError
from normlab.recognition.state import holds_numbers, kept
from normlab.recognition.trace import trace


class Twice(nn.Module):
    """One norm for two branches, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.act = nn.ReLU()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.drop(self.norm(self.conv(y) * 2))
        return self.act(self.norm(self.conv(x)))


def test_calls_have_shapes_neighbours_and_order_in_memory() -> None:
    first, second = torch.ones(2, 3, 5, 5), torch.ones(1, 3, 7, 7).to(memory_format=torch.channels_last)
    two, one = trace(Twice(), (first, second))["norm"]
    assert (one.shape, one.before, one.behind, one.channels_last) == ((2, 4, 5, 5), "conv", "act", False)
    assert (two.shape, two.before, two.behind, two.channels_last) == ((1, 4, 7, 7), "", "drop", True)


def test_nothing_of_the_model_or_of_random_numbers_changes() -> None:
    model = Twice()
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    torch.manual_seed(3)
    random.seed(3)
    expected = (torch.rand(1).item(), random.random())
    torch.manual_seed(3)
    random.seed(3)
    trace(model, (torch.ones(2, 3, 5, 5), torch.ones(2, 3, 5, 5)), training=True)
    assert (torch.rand(1).item(), random.random()) == expected
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.norm.training
    assert model.conv.weight.grad is not None
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_buffers_that_a_forward_pass_replaces_come_back() -> None:
    class Replacing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.seen + 1
            np.random.default_rng()
            return x

    model = Replacing()
    buffer = model.seen
    with kept(model):
        model(torch.ones(1))
        model(torch.ones(1))
    assert model.seen is buffer
    assert model.seen.item() == 0


def test_what_a_forward_pass_keeps_in_attributes_is_gone() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls, self.inputs, self.norm = 0, [torch.zeros(1)], nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.inputs.append(x)
            self.register_buffer("latest", x)
            self.output, self.norm = self.norm(x), nn.BatchNorm1d(2)
            return x

    model = Keeping()
    before, norm = dict(vars(model)), model.norm
    with kept(model):
        model(torch.ones(3, 2))
        assert model.norm is not norm
    assert vars(model) == before
    assert (model.calls, len(model.inputs), model.norm) == (0, 1, norm)
    assert list(model.state_dict()) == [f"norm.{name}" for name in norm.state_dict()]


def test_the_fast_path_of_attention_is_left_so_that_norms_are_seen() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    assert trace(layer, (torch.ones(2, 3, 8),))["norm1"][0].shape == (2, 3, 8)
    assert torch.backends.mha.get_fastpath_enabled()


def test_inputs_that_do_not_fit_are_one_message() -> None:
    with pytest.raises(InputError, match=r"Linear\(input\) must take the inputs; got inputs \(2, 4\) float32"):
        trace(nn.Linear(3, 3), (torch.ones(2, 4),))


def test_a_view_of_memory_that_was_given_back_holds_no_numbers() -> None:
    """As FullyShardedDataParallel leaves the parameters of a layer between passes."""
    flat = torch.ones(12)
    views = (flat[4:8], flat[8:].view(2, 2), flat[:0])
    assert all(holds_numbers(view) for view in views)
    flat.untyped_storage().resize_(8 * flat.element_size())
    assert [holds_numbers(view) for view in views] == [True, False, True]
    assert not holds_numbers(flat.to("meta"))
