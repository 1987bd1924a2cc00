"""Layers that are a norm and an activation in one: split where that is proven, refused elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import normlab
from normlab.errors import InputError
from normlab.recognition.find import recognize
from normlab.surgery import swap as surgery


class NormAct(nn.BatchNorm2d):
    """As timm has it: a subclass of BatchNorm2d that applies dropout and an activation itself."""

    def __init__(self, channels: int, drop: float = 0.0) -> None:
        super().__init__(channels)
        self.drop = nn.Dropout(drop) if drop else nn.Identity()
        self.act = nn.SiLU()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.act(self.drop(super().forward(input)))


class Scaled(NormAct):
    """The same, and twice as much in training: no norm with an activation behind it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output = super().forward(input)
        return 2 * output if self.training else output


def images() -> torch.Tensor:
    return torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(1))


def test_the_activation_stays_behind_the_new_norm() -> None:
    norm = NormAct(6)
    swapped, report = normlab.swap(nn.Sequential(norm), "group:groups=2", example_inputs=images())
    expected = nn.functional.silu(nn.functional.group_norm(images(), 2))
    assert torch.allclose(swapped(images()), expected, atol=1e-6)
    assert report.entries[0].action == "replace"
    assert any("SiLU" in note for note in report.entries[0].notes)
    assert torch.equal(swapped[0].weight, norm.weight), "code that reads the gamma of the layer still finds it"


class DropAct(NormAct):
    """A class that is called as dropout is, with an activation that learns."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, drop=0.3)
        self.act = nn.PReLU()


def test_an_activation_that_learns_goes_along_and_a_name_decides_nothing() -> None:
    model = nn.Sequential(DropAct(6))
    found = recognize(model[0])
    assert found is not None
    assert (found.kind, found.activation, found.frozen) == ("batch", "act", False)
    swapped, _ = normlab.swap(model, "group:groups=2", copy=False)
    expected = nn.functional.prelu(nn.functional.group_norm(images(), 2), torch.tensor([0.25]))
    torch.testing.assert_close(swapped.eval()(images()), expected)


def test_a_frozen_layer_is_split_too() -> None:
    model, _ = normlab.freeze(nn.Sequential(NormAct(6, drop=0.2)))
    swapped, report = normlab.swap(model.train(), "none")
    assert report.replaced == ("0",)
    torch.testing.assert_close(swapped.eval()(images()), model.eval()(images()))


def test_none_keeps_the_activation() -> None:
    model = nn.Sequential(NormAct(6)).eval()
    swapped, _ = normlab.swap(model, "none")
    assert torch.allclose(swapped(images()), model(images()), atol=1e-5)


def test_the_same_norm_stays_as_it_is() -> None:
    assert surgery.preview(nn.Sequential(NormAct(6)), "batch").entries[0].action == "keep"


def test_hooks_of_the_layer_are_not_called_by_the_proof() -> None:
    model, seen = nn.Sequential(NormAct(6)), []
    model[0].register_forward_hook(lambda *_: seen.append("called"))
    surgery.preview(model, "group:groups=2")
    assert not seen


def test_what_is_more_than_a_norm_and_an_activation_is_never_flattened() -> None:
    model = nn.Sequential(Scaled(6))
    known = recognize(model[0])
    if known is None or known.obstacle or not known.kind:
        _, report = normlab.swap(model, "group:groups=2")
        assert report.entries == () or report.entries[0].action == "leave"
    else:
        with pytest.raises(InputError, match="followed by that activation"):
            normlab.swap(model, "group:groups=2")
