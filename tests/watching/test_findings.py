"""Each mistake in a training loop is found while it happens, and the healthy loop beside it is quiet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normlab.diagnosis.catalog import BY_CODE, LIVE
from normlab.engine.model import one_thread
from normlab.watching.watch import watch
from watching.loops import batch, codes, ignore, net, of, trained


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """On one thread, as other tests run beside these."""
    with one_thread():
        yield


NORMS = (nn.BatchNorm1d, nn.LayerNorm, nn.RMSNorm, partial(nn.GroupNorm, 4), nn.SyncBatchNorm)


@pytest.mark.parametrize("norm", NORMS[:4], ids=["batch", "layer", "rms", "group"])
def test_a_healthy_training_is_quiet(norm: type[nn.Module]) -> None:
    w = trained(net(norm=norm), steps=80)
    assert w.findings == ()
    assert w.notes == []
    assert len(w.history) == 2
    assert w.text() == "Sequential, 2 norms, 80 steps: nothing found."


# NL301: running statistics that lag behind


def test_statistics_that_lag_behind_are_found_with_the_share_of_their_initial_values() -> None:
    w = trained(net(norm=partial(nn.BatchNorm1d, momentum=0.001)))
    findings = of(w, "NL301")
    assert [finding.where for finding in findings] == ["1", "4"]
    assert f"initial values still weigh {0.999**40:.0%}" in findings[0].message
    assert findings[0].severity == "warning"


def test_statistics_of_other_data_are_found_while_training() -> None:
    """A pretrained layer of a small momentum, fed with data of another scale."""
    model = net(norm=partial(nn.BatchNorm1d, momentum=0.001))
    for layer in (model[1], model[4]):
        assert isinstance(layer, nn.BatchNorm1d)
        layer.load_state_dict({"num_batches_tracked": torch.tensor(100_000)}, strict=False)
    (finding, *_) = of(trained(model), "NL301")
    assert finding.figures["first_step"] < 40
    assert finding.figures["variance_ratio"] == pytest.approx(1 / 3, rel=0.3), "of uniform weights in +-1/sqrt(8)"


def test_of_a_part_of_the_batch_drift_is_told_and_no_gap() -> None:
    """What SyncBatchNorm sees in one of several processes: it normalizes by more than that."""
    for momentum, expected in ((0.001, {"NL301"}), (0.1, set())):
        w = trained(net(norm=partial(nn.SyncBatchNorm, momentum=momentum)), steps=80)
        assert codes(w) == expected
        assert all(sample.gap is None for samples in w.history.values() for sample in samples)


# NL501: batches that differ among themselves


def test_batches_of_three_are_noise_to_evaluation_and_no_drift() -> None:
    w = trained(net(), size=3, steps=120)
    assert codes(w) == {"NL501"}
    finding = of(w, "NL501")[0]
    assert finding.figures["values"] == 3
    assert "3 values a channel" in finding.message


def test_batches_of_two_kinds_are_not_laid_to_their_size() -> None:
    """As those of a critic: running statistics are between the kinds, and the first step has them in another order."""
    model, shift = net(), 2.0

    def both(x: Tensor) -> Tensor:
        return model(x + shift) + model(x - shift)  # type: ignore[no-any-return]

    def turn(step: int, *_: object) -> None:
        nonlocal shift
        shift = -2.0 if step == 0 else 2.0

    trained(model, forward=both, grad_accumulation=2)
    w = trained(model, steps=8, every=50, forward=both, grad_accumulation=2, before=turn)
    assert w.history["1"][-1].gap > 2  # type: ignore[operator]
    assert codes(w) == set()


@pytest.mark.parametrize(("steps", "expected"), [(40, set()), (80, {"NL301"})])
def test_statistics_that_do_not_move_are_not_laid_to_small_batches(steps: int, expected: set[str]) -> None:
    """A momentum of 0 leaves running statistics as they began, far from any batch however large."""
    model = net(norm=partial(nn.BatchNorm1d, momentum=0.0))
    assert codes(trained(model, steps=steps, every=10, before=lambda step, model, x: x.mul_(1e3))) == expected


def test_a_batch_of_equal_samples_is_no_small_batch() -> None:
    w = trained(net(), every=10, before=lambda step, model, x: x.fill_(3.0))
    assert codes(w) == {"NL502"}


# NL502: dead norms


def test_an_output_that_is_not_finite_is_not_called_constant() -> None:
    def overflow(step: int, model: nn.Module, x: Tensor) -> None:
        if step == 20:
            x[0, 0] = torch.inf

    found = of(trained(net(norm=partial(nn.GroupNorm, 16)), before=overflow), "NL502")
    assert all(finding.figures["spread"] < 1e-3 for finding in found)


def test_gamma_that_decay_has_killed_is_found() -> None:
    model = net()
    assert isinstance(model[4], nn.BatchNorm1d)
    nn.init.constant_(model[4].weight, 1e-6)
    model[4].weight.requires_grad_(False)
    (finding,) = of(trained(model), "NL502")
    assert finding.where == "4"
    assert finding.figures["gamma"] == pytest.approx(1e-6)
    assert finding.figures["first_step"] > 10


def test_gammas_that_start_at_zero_and_grow_are_healthy() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.branch, self.end = nn.Linear(8, 16), net(16, 16)[:2], nn.Linear(16, 1)
            nn.init.zeros_(self.branch[1].weight)

        def forward(self, x: Tensor) -> Tensor:
            y = self.start(x)
            return self.end(y + self.branch(y))

    assert codes(trained(Residual())) == set()


@pytest.mark.parametrize("norm", NORMS[:2], ids=["batch", "layer"])
def test_a_norm_whose_input_does_not_vary_is_found(norm: type[nn.Module]) -> None:
    model = net(norm=norm)
    assert isinstance(model[3], nn.Linear)
    nn.init.zeros_(model[3].weight)
    model[3].weight.requires_grad_(False)
    (finding,) = of(trained(model), "NL502")
    assert finding.where == "4"
    assert "constant" in finding.message


# NL305: numbers of the buffers


def test_one_batch_with_an_infinite_value_leaves_statistics_that_are_not_finite() -> None:
    def poison(step: int, model: nn.Module, x: Tensor) -> None:
        if step == 12:
            with torch.no_grad():
                model[:2](torch.full_like(x, float("inf")))  # type: ignore[index]

    w = trained(net(), before=poison)
    (finding,) = of(w, "NL305")
    assert (finding.where, finding.severity, finding.figures["first_step"]) == ("1", "error", 15)
    assert finding.figures["bad_running_mean"] == 16


def test_statistics_beyond_half_precision_are_found() -> None:
    w = trained(net(), forward=None, before=lambda step, model, x: x.mul_(1000), lr=1e-9)
    (finding,) = of(w, "NL305")
    assert (finding.where, finding.severity) == ("1", "warning")
    assert finding.figures["largest"] > 65504


# NL304: frozen layers that moved


def test_a_frozen_layer_that_train_mode_moves_is_found() -> None:
    model = net()
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    (finding,) = of(trained(model), "NL304")
    assert finding.where == "1"
    assert "training mode" in finding.message
    assert set(finding.figures) >= {"moved_running_mean", "moved_running_var"}


def test_a_layer_in_evaluation_mode_that_train_takes_back_is_found() -> None:
    model = net()
    model[1].eval()
    w = trained(model, before=lambda step, model, x: model.train(step >= 0))
    assert [finding.where for finding in of(w, "NL304")] == ["1"]


def test_gamma_and_beta_that_learn_beside_statistics_that_stand_are_healthy() -> None:
    model = net()
    model[1].eval()  # nobody calls model.train(), and the optimizer holds both
    w = trained(model, optimizer=torch.optim.SGD(model.parameters(), 0.02))
    assert "NL304" not in codes(w)


def test_a_layer_that_stays_frozen_is_healthy() -> None:
    model = net()
    model[1].eval()
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    assert "NL304" not in codes(trained(model))


def test_a_layer_that_is_thawed_on_purpose_is_healthy() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    model[1].eval()

    def thaw(step: int, model: nn.Module, x: Tensor) -> None:
        if step == 20:
            model.train().requires_grad_(True)

    assert "NL304" not in codes(trained(model, optimizer=optimizer, after=thaw))


def test_a_teacher_that_follows_by_hand_is_healthy() -> None:
    model = net()
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)

    def follow(step: int, model: nn.Module, x: Tensor) -> None:
        model[1].weight.mul_(0.99)  # type: ignore[index, union-attr, operator]

    assert "NL304" not in codes(trained(model, after=follow))


def test_a_frozen_gamma_that_the_optimizer_decays_is_found() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    model[1].eval()

    def freeze(step: int, model: nn.Module, x: Tensor) -> None:
        model[1].requires_grad_(step < 12)  # type: ignore[index, union-attr, operator]

    def keep_gradient(step: int, model: nn.Module, x: Tensor) -> None:
        model[1].weight.grad = torch.ones(16)  # type: ignore[index, union-attr]

    w = trained(model, optimizer=optimizer, before=freeze, after=keep_gradient)
    assert "weight" in of(w, "NL304")[0].message


# NL303, NL407: updated more than once


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_updates_twice(reentrant: bool) -> None:
    model = net()

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Tensor) -> Tensor:
            y = checkpoint(self.net[:3], x.clone().requires_grad_(), use_reentrant=reentrant)
            return self.net[3:](y)

    w = trained(Checkpointed())
    (finding,) = of(w, "NL303")
    assert finding.where == "net.1"
    assert finding.figures["updates"] == 2 * finding.figures["batches"]
    assert f"{1 - 0.9**0.5:.4g}" in finding.mend
    assert codes(w) == {"NL303"}


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_part_that_is_called_in_the_place_of_the_model_is_no_validation(reentrant: bool) -> None:
    model = nn.ModuleDict({"net": net()})

    def forward(x: Tensor) -> Tensor:
        return checkpoint(model["net"], x.requires_grad_(), use_reentrant=reentrant)  # type: ignore[no-any-return]

    def validate(step: int, *_: object) -> None:
        if step % 10 == 0:
            with torch.no_grad():
                model["net"](batch(step)[0])

    w = trained(model, forward=forward)
    assert codes(w) == {"NL303"}
    assert w.as_dict()["passes"] == 40
    w = trained(model, forward=forward, before=validate)
    assert of(w, "NL503")[0].figures["passes"] == 4


def test_the_momentum_that_is_said_ends_what_checkpointing_is_found_for() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = checkpoint(self.net[:3], x, use_reentrant=False)
            return self.net[3:](y)  # type: ignore[no-any-return]

    model = Checkpointed()
    (finding,) = of(trained(model, steps=10), "NL303")
    layer = model.net[1]
    assert isinstance(layer, nn.BatchNorm1d)
    layer.momentum = float(finding.mend.split("momentum ")[1].split(",")[0])
    assert codes(trained(model, steps=10)) == set()


def test_a_layer_that_serves_two_branches_is_named() -> None:
    model = net()

    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rest = model[:3], model[3:]

        def forward(self, x: Tensor) -> Tensor:
            return self.rest(self.embed(x) - self.embed(x.flip(0) + 1))

    w = trained(Siamese())
    (finding,) = of(w, "NL407")
    assert (finding.where, finding.severity) == ("embed.1", "note")
    assert "several times in one pass" in finding.message


# NL503, NL504, NL505: passes and steps


def test_a_validation_in_training_mode_is_found() -> None:
    def validate(step: int, model: nn.Module, x: Tensor) -> None:
        if step % 10 == 9:
            with torch.no_grad():
                model(x)

    w = trained(net(), after=validate)
    (finding,) = w.findings
    assert (finding.code, finding.figures["passes"], finding.figures["layers"]) == ("NL503", 4, 2)


def test_a_validation_in_evaluation_mode_is_healthy() -> None:
    def validate(step: int, model: nn.Module, x: Tensor) -> None:
        model.eval()
        with torch.no_grad():
            model(x + 100)
        model.train()

    assert codes(trained(net(), after=validate, before=lambda *_: None)) == set()


def test_further_passes_of_the_training_are_found_and_accumulation_explains_them() -> None:
    w = trained(net(), before=lambda step, model, x: model(x))
    assert codes(w) == {"NL505"}
    assert "2 a step" in of(w, "NL505")[0].message
    assert codes(trained(net(), before=lambda step, model, x: model(x), grad_accumulation=2)) == set()
    assert codes(trained(net(), grad_accumulation=2)) == {"NL505"}


@pytest.mark.parametrize("share", [20, 4])
def test_statistics_of_skipped_steps_are_found(share: int) -> None:
    """As GradScaler does: no step where the gradients are infinite."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    with watch(model, optimizer, every=5, on_finding=ignore) as w:
        for step in range(40):
            x, y = batch(step)
            optimizer.zero_grad()
            loss = model(x).sub(y).square().mean()
            (loss * (float("inf") if step % share == 1 else 1)).backward()
            if all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters()):
                optimizer.step()
    (finding,) = w.findings
    skipped = len(range(1, 40, share))
    assert (finding.code, finding.figures["skipped"]) == ("NL504", skipped)
    assert finding.severity == ("warning" if skipped > 4 else "note")


def test_steps_that_gradscaler_skips_are_found() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    with watch(model, optimizer, every=5, on_finding=ignore) as w:
        for step in range(20):
            x, y = batch(step)
            optimizer.zero_grad()
            scaler.scale(1e4 * model(x).sub(y).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
    skipped = round(127 - torch.tensor(scaler.get_scale()).log2().item())
    assert skipped > 0
    assert of(w, "NL504")[0].figures["skipped"] == skipped
    assert w.as_dict()["steps"] == 20 - skipped


def test_a_step_that_is_skipped_inside_the_optimizer_is_found() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.02, fused=True)

    def skip(step: int, model: nn.Module, x: Tensor) -> None:
        optimizer.found_inf = torch.tensor(float(step == 7))  # type: ignore[attr-defined]  # as GradScaler sets it

    w = trained(model, optimizer=optimizer, before=skip)
    assert of(w, "NL504")[0].figures["skipped"] == 1
    assert w.as_dict()["steps"] == 39


def test_a_loop_without_an_optimizer_of_torch_counts_by_itself() -> None:
    model = net()
    with watch(model, every=5, on_finding=ignore) as w:
        for step in range(20):
            model(batch(step)[0]).mean().backward()
            w.step(skipped=step == 3)
    assert [(finding.code, finding.figures["skipped"]) for finding in w.findings] == [("NL504", 1)]


def test_every_code_of_the_watch_is_in_the_catalogue_once_and_tested_here() -> None:
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert {rule.code for rule in LIVE} == {"NL501", "NL502", "NL503", "NL504", "NL505"}
    for code in ("NL301", "NL303", "NL304", "NL305", "NL407", *(rule.code for rule in LIVE)):
        assert code in BY_CODE
        assert f'"{code}"' in text
