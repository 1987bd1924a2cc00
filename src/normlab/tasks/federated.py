"""Federated training: clients that see the same digits differently learn by themselves and are averaged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from normlab.norms.slot import Slot
from normlab.seeding import stream
from normlab.tasks import models
from normlab.tasks.data import Data, Part, Weights
from normlab.tasks.digits import DIGITS
from normlab.tasks.digits import load as load_digits
from normlab.tasks.losses import ACCURACY
from normlab.tasks.mlp import LOSSES, PerceptronOptions, perceptron_chain
from normlab.tasks.spec import Dropout, MakeNorm, Task
from normlab.tasks.structure import Chain, build_chain, draw_weights, slots_of_chain

if TYPE_CHECKING:
    from torch import nn

CLIENTS, PIXELS, NOISE = 4, 64, 0.3
SAMPLES = DIGITS.training_samples // CLIENTS


class FederatedOptions(PerceptronOptions):
    """Options of perceptrons that are averaged.

    Arguments:
        hidden, activation, placement, dropout, dropout_at, loss: as for `PerceptronOptions`, of each client.
        norms: whether the norms, with their parameters and running statistics, are ``averaged`` like all else
            (FedAvg) or stay ``local`` (FedBN: X. Li et al., 2021, arXiv:2102.07623).
        local_epochs: of a round, behind which clients are averaged.
    """

    norms: Literal["averaged", "local"] = "averaged"
    local_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1


def seen(images: NDArray[np.floating[Any]], client: int, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
    """Images in 0..1 as a client sees them: as they are, inverted, faded, or noisy.

    >>> [seen(np.array([0.0, 1.0]), client, np.random.default_rng(0)).round(2).tolist() for client in range(3)]
    [[0.0, 1.0], [1.0, 0.0], [0.7, 1.0]]
    """
    if client == 1:
        return 1 - images
    if client == 2:
        return 0.7 + 0.3 * images
    return images + rng.normal(0, NOISE, images.shape) if client == 3 else images


def load(study_seed: int, seed: int) -> Data:
    """A sample is an image for each client, and its targets are their digits.

    The clients share out the training images of ``digits``; each is tested on all held-out images, as it sees them.
    """
    digits = load_digits(study_seed, seed)
    rng = stream(study_seed, "noise", "digits-federated", seed)

    def part(images: NDArray[Any], targets: NDArray[Any]) -> Part:
        views = [seen(images[:, client], client, rng) for client in range(CLIENTS)]
        return Part(np.stack(views, axis=1), targets)

    def shared(held_out: Part) -> Part:
        everyone = (slice(None), np.newaxis)
        images, targets = (np.asarray(array)[everyone] for array in (held_out.inputs, held_out.targets))
        return part(images.repeat(CLIENTS, axis=1), targets.repeat(CLIENTS, axis=1))

    training = digits.training.take(slice(SAMPLES * CLIENTS))
    images, targets = np.asarray(training.inputs), training.targets
    return Data(
        part(images.reshape(SAMPLES, CLIENTS, PIXELS), targets.reshape(SAMPLES, CLIENTS)),
        {name: shared(held_out) for name, held_out in digits.held_out.items()},
    )


def _chain(options: FederatedOptions) -> Chain:
    return perceptron_chain(PIXELS, DIGITS.classes, options)


def _build(options: FederatedOptions, make_norm: MakeNorm) -> models.Federation:
    def model_of(client: int) -> nn.Module:
        return build_chain(_chain(options), lambda slot: make_norm(_of_client(slot, client)))

    return models.Federation(map(model_of, range(CLIENTS)))


def _of_client(slot: Slot, client: int) -> Slot:
    """A slot of a client's model, by its names in the whole."""
    path = f"clients.{client}."
    return replace(slot, name=path + slot.name, layer=path + slot.layer, activation=path + slot.activation)


def _slots(options: FederatedOptions) -> tuple[Slot, ...]:
    return tuple(_of_client(slot, client) for client in range(CLIENTS) for slot in slots_of_chain(_chain(options)))


def _weights(options: FederatedOptions, rng: np.random.Generator) -> Weights:
    """The same for all clients."""
    drawn = draw_weights(_chain(options), rng)
    return {f"clients.{client}.{name}": value for client in range(CLIENTS) for name, value in drawn.items()}


def _average(options: FederatedOptions, model: nn.Module, epoch: int) -> None:
    assert isinstance(model, models.Federation)
    if epoch % options.local_epochs == 0:
        model.average([slot.name for slot in slots_of_chain(_chain(options))] if options.norms == "local" else ())


DIGITS_FEDERATED = Task(
    name="digits-federated",
    title=f"Handwritten digits that {CLIENTS} clients see differently, averaged each round",
    data=load,
    build=_build,
    loss=lambda options: LOSSES[options.loss],
    training_samples=SAMPLES,
    held_out=DIGITS.held_out,
    scores=(ACCURACY,),
    options=FederatedOptions(hidden=(50,)),
    fixed=DIGITS.fixed,
    classes=DIGITS.classes,
    weights=_weights,
    slots=_slots,
    dropout=lambda options: Dropout(options.dropout, options.hidden * CLIENTS if options.dropout else ()),
    baseline=DIGITS.baseline,
    after_epoch=_average,
)
