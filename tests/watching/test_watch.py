"""A watch leaves the training as it is, says what it sees, and goes away."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from normlab.diagnosis.spec import Finding
from normlab.engine.model import one_thread
from normlab.errors import InputError
from normlab.watching.layers import Layers
from normlab.watching.watch import UnhealthyError, Watch, watch
from watching.loops import batch, codes, ignore, net, nothing, of, trained


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """On one thread, as other tests run beside these."""
    with one_thread():
        yield


def hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """All hooks that there are."""
    modules = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    parameters = sum(len(parameter._post_accumulate_grad_hooks or ()) for parameter in model.parameters())
    return modules + parameters + len(optimizer._optimizer_step_post_hooks)


def test_the_training_is_the_same_to_the_last_bit() -> None:
    watched, alone = net(), net()
    trained(watched, steps=12, every=1)
    optimizer = torch.optim.SGD(alone.parameters(), 0.02, momentum=0.9)
    for step in range(12):
        x, y = batch(step)
        optimizer.zero_grad()
        alone(x).sub(y).square().mean().backward()
        optimizer.step()
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_random_numbers_are_not_drawn() -> None:
    model = net()
    torch.manual_seed(7)
    trained(model, steps=5, every=1, before=nothing)
    here = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(1), here)


def test_hooks_are_gone_afterwards_also_after_an_error_of_the_loop() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)

    def fail(step: int, *_: object) -> None:
        if step == 7:
            raise KeyError("of the loop")

    with pytest.raises(KeyError, match="of the loop"):
        trained(model, optimizer=optimizer, before=fail, strict=True)
    assert hooks(model, optimizer) == 0


def test_layers_have_hooks_at_sampled_steps_alone() -> None:
    model = net()
    counts = []
    trained(model, steps=16, every=5, before=lambda *_: counts.append(len(model[1]._forward_hooks)))
    sampled = [step + 1 for step, count in enumerate(counts) if count]
    assert sampled == [1, 2, 4, 5, 10, 15]


def test_copies_and_pickles_made_within_are_inert() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    with watch(model, optimizer, on_finding=ignore) as w:
        twin = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for one in (twin, loaded):
            one(batch(0)[0]).sum().backward()
        assert w.as_dict()["passes"] == 0


def test_a_fault_of_the_watch_does_not_reach_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("of the watch")

    monkeypatch.setattr(Layers, "sample", fail)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    with pytest.warns(RuntimeWarning, match="ended at step 1 by a fault of its own: ZeroDivisionError: of the watch"):
        w = trained(model, optimizer=optimizer, steps=10)
    assert "fault of its own" in w.text()
    assert hooks(model, optimizer) == 0
    with pytest.raises(ZeroDivisionError):
        trained(net(), steps=10, strict=True)


def _poison(step: int, model: nn.Module, x: torch.Tensor) -> None:
    if step == 6:
        model[1].running_mean.fill_(float("nan"))  # type: ignore[index, union-attr, operator]


def test_strict_ends_a_training_whose_statistics_are_lost() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    steps = []
    with pytest.raises(UnhealthyError, match="NL305"):
        trained(model, optimizer=optimizer, before=_poison, after=lambda step, *_: steps.append(step), strict=True)
    assert len(steps) == 9, "the tenth step is sampled"
    assert hooks(model, optimizer) == 0


def test_each_finding_is_told_once_and_kept_with_its_steps() -> None:
    told: list[Finding] = []
    w = trained(net(), before=_poison, on_finding=told.append)
    assert [(finding.code, finding.where) for finding in told] == [("NL305", "1")]
    (finding,) = w.findings
    assert (finding.figures["first_step"], finding.figures["last_step"]) == (10, 40)
    assert "seen from step 10 to 40" in w.text()
    assert w.text().splitlines()[-1] == "Sequential, 2 norms, 40 steps: 1 error."


def test_an_error_of_the_users_function_passes_through() -> None:
    def stop(finding: Finding) -> None:
        raise RuntimeError(f"stopped by {finding.code}")

    with pytest.raises(RuntimeError, match="stopped by NL305"):
        trained(net(), before=_poison, on_finding=stop)


def test_findings_are_warnings_by_default_and_notes_are_not() -> None:
    with pytest.warns(UserWarning, match="NL305 error"):
        trained(net(), before=_poison, on_finding=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = trained(net(), steps=30, on_finding=None, after=lambda step, model, x: None)
    assert codes(w) == set()


def test_everything_is_plain_data() -> None:
    w = trained(net(), before=_poison)
    data = json.loads(json.dumps(w.as_dict(), allow_nan=False))
    assert (data["kind"], data["model"], data["layers"], data["steps"]) == ("watch", "Sequential", 2, 40)
    assert data["findings"][0]["code"] == "NL305"
    assert [sample["step"] for sample in data["history"]["1"]] == [0, 1, 2, 4, *range(5, 41, 5)]
    assert data["history"]["1"][-1]["updates"] == 40


def test_the_picture_has_a_row_for_each_layer() -> None:
    figure = trained(net()).plot()
    left, right, *_ = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["1", "4"]
    assert left.collections[0].get_array().shape == (2, 11)
    assert "drift" in right.get_title()
    with pytest.raises(InputError, match="normalizes by the batch"):
        trained(net(norm=nn.LayerNorm)).plot()


def test_a_compiled_model_is_watched_by_its_buffers() -> None:
    model = net()
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    w = trained(compiled, before=lambda step, _, x: _poison(step, model, x), optimizer=optimizer)  # type: ignore[arg-type]
    assert codes(w) == {"NL305"}
    assert "compiled" in w.text()


def test_a_compiled_step_is_not_compiled_anew_at_each_sample() -> None:
    model = net()
    step = torch.compile(lambda x: model(x), backend="eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    w = trained(model, forward=step, before=_poison, every=2)
    assert codes(w) == {"NL305"}
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3


def test_a_watch_is_used_once_and_counts_steps_in_one_way() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    with watch(model, optimizer) as w, pytest.raises(InputError, match="counts its steps itself"):
        w.step()
    with pytest.raises(InputError, match="for one `with`"), w:
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "net"}, "`model` must be a torch.nn.Module"),
        ({"optimizer": "adam"}, "`optimizer` must be"),
        ({"every": 0}, "`every` must be a whole number"),
        ({"grad_accumulation": 0.5}, "`grad_accumulation` must be"),
        ({"on_finding": "print"}, "`on_finding` must be a function"),
    ],
)
def test_wrong_arguments_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        watch(**{"model": net(), **given})  # type: ignore[arg-type]


def test_an_optimizer_of_another_model_is_told() -> None:
    """As after a swap, which gives a copy: the optimizer goes on with the model before."""
    before = torch.optim.SGD(net().parameters(), 0.02)
    with pytest.warns(RuntimeWarning, match="holds no parameter of the model"), watch(net(), before) as w:
        pass
    assert "make it from the model that is trained" in w.text()


def test_a_model_without_norms_is_let_be() -> None:
    w = trained(nn.Sequential(nn.Linear(8, 1)), steps=3)
    assert w.findings == ()
    assert "no normalization layer" in w.text()


@pytest.mark.parametrize("given", [True, False])
def test_a_loop_whose_steps_are_not_seen_is_told(given: bool) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)

    def said() -> str:
        with watch(model, optimizer if given else None) as w:
            for step in range(3):
                model(batch(step)[0]).sum().backward()
        return w.text()

    with pytest.warns(RuntimeWarning, match="no step was seen in 3 forward passes"):
        text = said()
    assert ("made none" if given else "w.step()") in text


class Trainer(nn.Module):
    """A model whose training step calls its network, as that of a Lightning module does, and never itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def training_step(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def test_a_part_that_is_called_in_the_place_of_the_model_is_watched_as_it_would_be_alone() -> None:
    def forgetful(part: Callable[[nn.Module], nn.Module], model: nn.Module) -> Watch:
        def forget(step: int, *_: object) -> None:
            if step % 10 == 0:
                with torch.no_grad():
                    part(model)(batch(step)[0] + 3)

        return trained(model, forward=part(model), after=forget, grad_accumulation=2)

    alone = forgetful(lambda model: model, net())
    held = forgetful(lambda model: model.training_step, Trainer())  # type: ignore[arg-type, return-value]
    assert {"NL503", "NL505"} <= codes(alone) == codes(held)
    for finding in held.findings:
        twin = next(
            one for one in alone.findings if (one.code, f"net.{one.where}".strip(".")) == (finding.code, finding.where)
        )
        assert (finding.message, finding.figures) == (twin.message, twin.figures)
    assert [held.as_dict()[name] for name in ("passes", "blind")] == [40, 4]


def test_each_of_two_networks_in_a_container_has_passes_of_its_own() -> None:
    model = nn.ModuleDict({"generator": net(8, 8), "critic": net(1, 8)})
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer, on_finding=ignore) as w:
        for step in range(8):
            optimizer.zero_grad()
            made = model["generator"](batch(step)[0])
            (model["critic"](made) - model["critic"](batch(step)[1])).square().mean().backward()
            optimizer.step()
    (found,) = of(w, "NL505")
    assert found.where == "critic"
    assert found.figures["passes"] == 2 * found.figures["steps"]
    assert not of(w, "NL407")


def test_parts_that_a_larger_one_calls_lose_their_hooks_after_the_first_pass() -> None:
    model = nn.Sequential(net(), nn.Linear(1, 1))
    counts = []
    trained(model, steps=3, before=lambda *_: counts.append(len(model[0]._forward_pre_hooks)))  # type: ignore[arg-type]
    assert counts == [1, 0, 0]
    assert len(model._forward_pre_hooks) == 0


def test_a_call_that_an_error_ends_does_not_hide_the_next_ones() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with watch(model, optimizer, on_finding=ignore) as w:
        for step in range(6):
            if step == 2:
                with pytest.raises(RuntimeError):
                    model(torch.zeros(4, 3))
            model(batch(step)[0]).square().mean().backward()
            optimizer.step()
    assert w.as_dict()["passes"] == 7, "a call that fails is one too"


def test_a_model_that_is_never_called_is_told() -> None:
    other = net()
    model = net()
    w = trained(model, forward=other, optimizer=torch.optim.SGD([*model.parameters(), *other.parameters()], 0.01))
    assert "no forward pass was seen in 40 steps: watch the model that is called" in w.text()
