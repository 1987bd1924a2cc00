"""Slots read from layers and from their calls, and layers that take input in any order of axes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

from normlab.errors import InputError
from normlab.norms.catalog import parse
from normlab.norms.slot import Slot
from normlab.recognition.find import recognize
from normlab.recognition.spec import FoundNorm, Use
from normlab.surgery.placing import is_certain, place, slot_of


def found(module: nn.Module) -> FoundNorm:
    known = recognize(module)
    assert known is not None
    return known


def called(*shapes: tuple[int, ...]) -> tuple[Use, ...]:
    return tuple(Use(shape, torch.float32) for shape in shapes)


@pytest.mark.parametrize(
    ("module", "shapes", "layout", "extent"),
    [
        (nn.BatchNorm2d(6), [], "NCHW", ()),
        (nn.BatchNorm2d(6), [(2, 6, 4, 5)], "NCHW", (4, 5)),
        (nn.BatchNorm2d(6), [(2, 6, 4, 5), (2, 6, 8, 8)], "NCHW", ()),
        (nn.BatchNorm1d(6), [], "NC", ()),
        (nn.BatchNorm1d(6), [(2, 6, 4)], "NCL", (4,)),
        (nn.GroupNorm(2, 6), [(2, 6, 3, 4, 5)], "NCDHW", (3, 4, 5)),
        (nn.LayerNorm(6), [], "NLC", ()),
        (nn.LayerNorm(6), [(2, 6)], "NC", ()),
        (nn.LayerNorm(6), [(2, 3, 4, 6)], "NLC", (12,)),
        (nn.LayerNorm((6, 4, 5)), [], "NCHW", (4, 5)),
    ],
)
def test_slots(module: nn.Module, shapes: list[tuple[int, ...]], layout: str, extent: tuple[int, ...]) -> None:
    slot = slot_of(found(module), called(*shapes))
    assert (slot.channels, slot.layout, slot.extent) == (6, layout, extent)


def test_only_a_call_tells_the_axes_of_some_layers() -> None:
    assert not is_certain(found(nn.GroupNorm(2, 6)))
    assert is_certain(found(nn.GroupNorm(2, 6)), called((2, 6, 4, 4)))
    assert is_certain(found(nn.BatchNorm2d(6)))
    assert is_certain(found(nn.LayerNorm(6)))


@pytest.mark.parametrize("shape", [(6, 4, 4), (2, 5, 4, 4), (2, 6, 4)])
def test_input_that_a_layer_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        slot_of(found(nn.BatchNorm2d(6)), called(shape))


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 6), (4, 2, 3, 6), (4, 2, 2, 3, 6)])
@pytest.mark.parametrize("text", ["batch", "group:groups=2", "layer", "rms", "dyt", "bias", "layer2d", "scale", "unit"])
def test_features_last_whatever_the_number_of_axes(text: str, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    slot = slot_of(found(nn.LayerNorm(6)), called(shape))
    if text == "layer2d" and len(shape) == 2:
        return
    layer = place(parse(text), slot)
    single = place(parse("layer" if text == "layer2d" else text), Slot(6, "NC"))
    expected = single(inputs.reshape(-1, 6)).view(shape)  # every position is a sample of its own
    assert torch.allclose(layer(inputs), expected, atol=1e-5)


def test_a_class_of_ones_own_finds_its_features() -> None:
    from normlab.surgery.targets import target_of

    images = torch.randn(2, 6, 4, 4)
    norm = target_of(nn.LayerNorm).norm
    assert norm is not None
    layer = place(norm, Slot(6, "NCHW", (4, 4)))
    expected = nn.functional.layer_norm(images.movedim(1, -1), (6,)).movedim(-1, 1)
    assert torch.allclose(layer(images), expected, atol=1e-6)
    tokens = torch.randn(4, 5, 6)
    norm = target_of(nn.BatchNorm1d).norm
    assert norm is not None
    apart = place(norm, Slot(6, "NLC", (5,)))
    expected = nn.functional.batch_norm(tokens.view(-1, 6), None, None, training=True).view(4, 5, 6)
    assert torch.allclose(apart(tokens), expected, atol=1e-5)


@pytest.mark.parametrize(
    "redo",
    [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer)), torch.fx.symbolic_trace],
    ids=["copied", "pickled", "traced"],
)
def test_an_adapter_is_copied_pickled_and_traced_as_any_layer(redo: Callable[[nn.Module], nn.Module]) -> None:
    inputs = torch.randn(2, 5, 6)
    layer = place(parse("group:groups=2"), Slot(6, "NLC"))
    assert torch.equal(redo(layer)(inputs), layer(inputs))
    assert layer.num_groups == 2
    assert not hasattr(layer, "unknown")


def test_the_new_layer_has_type_and_mode_of_the_old_one() -> None:
    old = nn.BatchNorm2d(6).double().eval()
    layer = place(parse("group:groups=2"), Slot(6, "NCHW"), found(old))
    assert layer.weight.dtype == torch.float64
    assert not layer.training


def test_a_norm_without_a_form_for_the_slot_is_refused() -> None:
    with pytest.raises(InputError, match="no form for NCHW"):
        place(parse("layer"), Slot(6, "NCHW"))
