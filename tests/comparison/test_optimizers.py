"""What a Lightning module says of its training is taken over, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler as schedulers

from normlab.comparison.optimizers import configured
from normlab.comparison.study import comparison_study
from normlab.errors import InputError

EPOCHS = 20
DATA = np.zeros((40, 3), dtype=np.float32), np.arange(40) % 2


class Module(nn.Module):
    """As a Lightning module is, without the library."""

    def __init__(self, configure: Callable[[nn.Module], Any], *, automatic: bool = True) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.configure, self.automatic_optimization = configure, automatic

    def configure_optimizers(self) -> Any:
        return self.configure(self)

    def training_step(self, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])


def adam(model: nn.Module, **values: Any) -> optim.Optimizer:
    return optim.Adam(model.parameters(), lr=0.02, **values)


def grouped(model: nn.Module) -> optim.Optimizer:
    decays = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    return optim.AdamW([{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=0.02)


def scheduled(make: Callable[[optim.Optimizer], Any], **about: Any) -> Callable[[nn.Module], Any]:
    def configure(model: nn.Module) -> Any:
        optimizer = adam(model)
        scheduler = make(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **about} if about else scheduler}

    return configure


ADAM = {"optimizer": "adam", "learning_rate": 0.02}


@pytest.mark.parametrize(
    ("configure", "fields"),
    [
        (adam, ADAM),
        (lambda model: [adam(model)], ADAM),
        (lambda model: {"optimizer": adam(model, weight_decay=0.1)}, {**ADAM, "weight_decay": 0.1}),
        (lambda model: ([(it := adam(model))], [schedulers.CosineAnnealingLR(it, 9)]), {**ADAM, "schedule": "cosine"}),
        (grouped, {"optimizer": "adamw", "learning_rate": 0.02, "weight_decay": 0.1}),
        (
            lambda model: optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
            {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        ),
        (
            scheduled(lambda it: schedulers.MultiStepLR(it, [10, 15], gamma=0.5)),
            {**ADAM, "schedule": "step", "decay": 0.5, "decay_at": (0.5, 0.75)},
        ),
        (
            scheduled(lambda it: schedulers.StepLR(it, 8), interval="epoch"),
            {**ADAM, "schedule": "step", "decay": 0.1, "decay_at": (0.4, 0.8)},
        ),
        (scheduled(lambda it: schedulers.StepLR(it, 30)), ADAM),
        (scheduled(lambda it: schedulers.CosineAnnealingLR(it, 60), interval="step"), {**ADAM, "schedule": "cosine"}),
        (lambda model: None, {}),
    ],
)
def test_what_a_study_can_do_is_taken_over(configure: Callable[[nn.Module], Any], fields: dict[str, Any]) -> None:
    found, said = configured(Module(configure), {"epochs": EPOCHS})
    assert found == fields
    assert ("learning rate" in said) == bool(fields)


@pytest.mark.parametrize(
    ("configure", "reason"),
    [
        (lambda model: optim.RMSprop(model.parameters()), "RMSprop, not one of Adam, AdamW, SGD"),
        (lambda model: adam(model, betas=(0.5, 0.9)), r"Adam with betas \(0.5, 0.9\)"),
        (lambda model: adam(model, amsgrad=True), "Adam with amsgrad True"),
        (lambda model: optim.Adam(model.net[0].parameters()), "leaves out net.1.weight"),
        (
            lambda model: optim.Adam(
                [{"params": model.net[0].parameters(), "lr": 1.0}, {"params": model.net[1:].parameters()}]
            ),
            "Adam with lr 0.001 and 1.0",
        ),
        (lambda model: [adam(model), adam(model)], "2 optimizers and 0 schedulers, where one loss is minimized"),
        (scheduled(lambda it: schedulers.ReduceLROnPlateau(it)), "the scheduler ReduceLROnPlateau at each epoch"),
        (scheduled(lambda it: schedulers.StepLR(it, 8), interval="step"), "the scheduler StepLR at each step"),
        (scheduled(lambda it: schedulers.OneCycleLR(it, 1.0, 90), interval="step"), "the scheduler OneCycleLR"),
        (lambda model: model.trainer.estimated_stepping_batches, "must work without a trainer"),
    ],
)
def test_what_it_cannot_do_is_refused(configure: Callable[[nn.Module], Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        configured(Module(configure), {"epochs": EPOCHS})
    asked = {"optimizer": "adam", "schedule": "constant"}
    assert configured(Module(configure), asked) == ({}, ""), "another training is asked for"


def test_a_comparison_is_trained_so_and_what_is_asked_for_comes_first() -> None:
    made = comparison_study(lambda: Module(grouped), DATA, ["layer"], fields={"learning_rate": 0.5})
    assert (made.training.optimizer, made.training.learning_rate, made.training.weight_decay) == ("adamw", 0.5, 0.1)
    said = (
        "its configure_optimizers gives optimizer adamw, weight decay 0.1; norms and biases are spared its weight decay"
    )
    assert said in made.remarks


def test_a_module_that_optimizes_itself_is_refused() -> None:
    with pytest.raises(InputError, match="automatic_optimization = False"):
        comparison_study(lambda: Module(adam, automatic=False), DATA, ["layer"])
