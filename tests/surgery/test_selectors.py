"""Rules: what each means, which of several decides, and what is said of one that means nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import normlab
from normlab.errors import InputError
from normlab.recognition.spec import FoundNorm


class Mine(nn.LayerNorm):
    """A subclass that computes the same."""


def build() -> nn.Module:
    model = nn.ModuleDict(
        {
            "stem": nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)),
            "attention": nn.ModuleDict({"q_norm": nn.LayerNorm(8), "k_norm": Mine(8)}),
            "last": nn.LayerNorm(8),
        }
    )
    return nn.Sequential(model)


EVERY = {"0.stem.1", "0.attention.q_norm", "0.attention.k_norm", "0.last"}


def chosen(where: object) -> set[str]:
    _, report = normlab.swap(build(), "dyt", where=where)
    return set(report.replaced)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (None, EVERY),
        ("*", EVERY),
        ("layer", EVERY - {"0.stem.1"}),
        ("kind:batch", {"0.stem.1"}),
        (nn.LayerNorm, EVERY - {"0.stem.1"}),
        (Mine, {"0.attention.k_norm"}),
        ("0.last", {"0.last"}),
        ("0.attention", {"0.attention.q_norm", "0.attention.k_norm"}),
        ("re:.*_norm", {"0.attention.q_norm", "0.attention.k_norm"}),
        ("role:query-key", {"0.attention.q_norm", "0.attention.k_norm"}),
        (lambda found: found.channels == 8 and found.library == "torch", EVERY - {"0.attention.k_norm"}),
        (["batch", "0.last"], {"0.stem.1", "0.last"}),
        ({"*": True, "0.attention": False, "0.attention.k_norm": True}, EVERY - {"0.attention.q_norm"}),
        ("not:layer", {"0.stem.1"}),
        (["*", "not:0.attention", "0.attention.k_norm"], EVERY - {"0.attention.q_norm"}),
        ({"layer": True, "re:.*k_norm": False}, {"0.attention.q_norm", "0.last"}),
    ],
)
def test_selectors_mean_norms(where: object, names: set[str]) -> None:
    assert chosen(where) == names


def test_the_most_exact_selector_decides_whatever_the_order() -> None:
    def of_the_last(found: FoundNorm) -> bool:
        return found.name.endswith("last")

    selectors: dict[object, object] = {
        "*": "dyt:alpha=0.1",
        "kind:layer": "dyt:alpha=0.2",
        "role:query-key": "dyt:alpha=0.3",
        nn.LayerNorm: "dyt:alpha=0.4",
        Mine: "dyt:alpha=0.5",
        of_the_last: "dyt:alpha=0.6",
        "re:.*q_norm": "dyt:alpha=0.7",
        "0.attention": "dyt:alpha=0.8",
        "0.attention.q_norm": "dyt:alpha=0.9",
    }
    given = list(selectors.items())
    winners = {
        1: 0.1,
        2: 0.2,
        3: 0.3,
        4: 0.4,
        5: 0.4,
        6: 0.4,
        7: 0.7,
        8: 0.8,
        9: 0.9,
    }  # for q_norm, by how many there are
    for count, alpha in winners.items():
        for order in (given[:count], given[count - 1 :: -1]):
            swapped, _ = normlab.swap(build(), dict(order))
            assert swapped[0]["attention"]["q_norm"].alpha.item() == pytest.approx(alpha)
            if count >= 5:
                assert swapped[0]["attention"]["k_norm"].alpha.item() == pytest.approx(0.8 if count >= 8 else 0.5)
            if count >= 6:
                assert swapped[0]["last"].alpha.item() == pytest.approx(0.6)


def test_roles_may_stand_in_the_text_of_the_norm() -> None:
    swapped, _ = normlab.swap(build(), "rms,query-key=layer:eps=1e-3")
    kinds = {name: type(module).__name__ for name, module in swapped.named_modules() if name in EVERY}
    assert kinds == {
        "0.stem.1": "ChannelRMSNorm",
        "0.attention.q_norm": "LayerNorm",
        "0.attention.k_norm": "LayerNorm",
        "0.last": "RMSNorm",
    }


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("0.lats", "Did you mean '0.last'?"),
        ("0.attentio.q_norm", "Did you mean '0.attention.q_norm'?"),
        ("bacth", "Did you mean"),
        ("instance", "of the kinds batch, layer"),
        ("role:output-gate", "of the roles"),
        ("re:.*qnorm", "q_norm"),
        ("re:(", "regular expression"),
        (nn.GroupNorm, "of the classes BatchNorm2d, LayerNorm, Mine"),
        (3, "a selector must say"),
        (nn.LayerNorm(8), "a layer, LayerNorm(...)"),
        ("", "Give '*' for every norm"),
        ("kind:bacth", "Did you mean 'batch'?"),
        (lambda found: found.kinds, "which raised AttributeError: 'FoundNorm' object has no attribute 'kinds'"),
        ({"layer": "no"}, "True or False of each selector; got 'no' for 'layer'"),
    ],
)
def test_a_selector_that_means_nothing_is_an_error_with_what_there_is(where: object, said: str) -> None:
    with pytest.raises(InputError) as raised:
        chosen(where)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (["layer", "not:layer"], "'layer' and 'not:layer'"),
        ({"re:.*_norm": True, "re:.*k_norm": False}, "'re:.*_norm' for True and 're:.*k_norm' for False"),
        ({"re:.*k_norm": False, "re:.*_norm": True}, "'re:.*k_norm' for False and 're:.*_norm' for True"),
        ({"batch": True, "kind:batch": False}, "'batch' for True and 'kind:batch' for False"),
    ],
)
def test_selectors_that_contradict_each_other_are_refused_whatever_their_order(where: object, said: str) -> None:
    with pytest.raises(InputError) as raised:
        chosen(where)
    assert said in str(raised.value)


def test_a_layer_under_two_names_has_one_fate() -> None:
    model = build()
    model[0]["again"] = model[0]["last"]
    with pytest.raises(InputError, match=r"'0\.last' for rms and '0\.again' for dyt"):
        normlab.swap(model, {"0.last": "rms", "0.again": "dyt"})
    assert normlab.swap(model, {"0.last": "rms", "0.again": "rms"})[1].replaced == ("0.last",)


def test_a_word_that_is_a_kind_and_a_name_must_be_made_plain() -> None:
    model = nn.ModuleDict({"layer": nn.Sequential(nn.LayerNorm(4)), "other": nn.LayerNorm(4)})
    with pytest.raises(InputError, match="kind:layer"):
        normlab.swap(model, "rms", where="layer")
    assert normlab.swap(model, "rms", where="kind:layer")[1].replaced == ("layer.0", "other")
    assert normlab.swap(model, "rms", where="re:layer.*")[1].replaced == ("layer.0",)


def test_what_is_no_norm_is_refused() -> None:
    for to in (3, nn.LayerNorm(8)):
        with pytest.raises(InputError, match="`to` must say"):
            normlab.swap(build(), to)
    with pytest.raises(InputError, match="number of channels"):
        normlab.swap(build(), nn.GroupNorm)


def test_a_word_that_is_near_nothing_gets_the_names_of_the_model() -> None:
    model = nn.ModuleDict({"bn": nn.BatchNorm1d(2)})
    with pytest.raises(InputError, match="a name such as 'bn', 're:"):
        normlab.swap(model, "layer", where="qq")


def test_a_text_with_roles_may_leave_one_as_it_is() -> None:
    _, report = normlab.swap(build(), "rms,query-key=same")
    assert set(report.replaced) == {"0.stem.1", "0.last"}
    _, report = normlab.swap(build(), "same,query-key=rms")
    assert set(report.replaced) == {"0.attention.q_norm", "0.attention.k_norm"}


class Standardize(nn.Module):
    """Nothing in its name or its parts says that it is a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.full((channels,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(x, x.shape[-1:], self.g)


@pytest.mark.parametrize("named", [Standardize, "1"])
def test_a_class_that_the_user_names_is_run_beside_the_formulas(named: object) -> None:
    model = nn.Sequential(nn.Linear(4, 6), Standardize(6), nn.LayerNorm(6))
    assert normlab.swap(model, "rms")[1].replaced == ("2",)
    for to, where in (("rms", named), ({named: "rms"}, None)):
        swapped, report = normlab.swap(model, to, where=where)
        assert report.replaced == ("1",)
        assert torch.equal(swapped[1].weight, model[1].g)
    with pytest.raises(InputError, match="a selector must mean at least one norm"):
        normlab.swap(model, "rms", where="0")


class Gated(nn.Module):
    """A norm with a gate, which no norm of one input can replace."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return nn.functional.rms_norm(x * z.sigmoid(), (4,), self.weight)


def test_a_class_that_the_user_names_and_that_cannot_be_swapped_is_an_error() -> None:
    model = nn.ModuleDict({"gated": Gated(), "plain": nn.LayerNorm(4)})
    for to, where in (("rms", Gated), ("rms", [Gated, "plain"]), ({Gated: "rms", "plain": "rms"}, None)):
        with pytest.raises(InputError, match=r"by its class.*its forward pass takes more than its input: z"):
            normlab.swap(model, to, where=where)
    report = normlab.swap(model, "rms", where=[nn.Module])[1]
    assert report.replaced == ("plain",), "a class of torch's means what can be swapped of it"
