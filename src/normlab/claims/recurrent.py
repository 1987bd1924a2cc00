"""What is said of norms in recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.claims.settings import LOSSES
from normlab.claims.spec import Claim, Comparative

BN, LN, GAIN = "batch", "layer", "model.initial_gain"
FULL, SMALL = ((GAIN, 1.0),), ((GAIN, 0.1),)
LOSS = "test_loss_deployed"
ADDING: Mapping[str, Any] = {
    "norms": [BN, LN],
    "tasks": ["adding"],
    "seeds": 10,
    "training": {"batch_size": 64, "epochs": 30, "optimizer": "adam", "learning_rate": 1e-2},
    "sweep": {GAIN: [0.1, 1.0]},
    "measure": LOSSES,
}
SCALE = (
    "an LSTM of 32 units on sequences of 20 numbers, for question answering, handwriting and language models of "
    "hundreds of units"
)
LN_RNN = Claim(
    id="ln-rnn",
    statement="LayerNorm is better than BatchNorm in a recurrent network, at whichever initial gain of BatchNorm.",
    source="Ba, Kiros and Hinton, 2016, arXiv:1607.06450",
    theme="recurrent nets",
    study=ADDING,
    hypotheses=(
        Comparative(LOSS, LN, "below", BN, at=FULL),
        Comparative(LOSS, LN, "below", BN, at=FULL, at_b=SMALL),
    ),
    scale=SCALE,
)
LN_RNN_SMALL_BATCH = Claim(
    id="ln-rnn-small-batch",
    statement="LayerNorm is better than BatchNorm in a recurrent network in batches of 4.",
    source="Ba, Kiros and Hinton, 2016, arXiv:1607.06450",
    theme="recurrent nets",
    study={
        **ADDING,
        "training": {"batch_size": 4, "epochs": 3, "optimizer": "adam", "learning_rate": 1e-2},
        "model": {"initial_gain": 1.0},
        "sweep": {},
    },
    hypotheses=(Comparative(LOSS, LN, "below", BN),),
    scale=f"{SCALE}; 750 steps, about as many as with batches of 64",
)
RBN_GAIN = Claim(
    id="rbn-gain",
    statement="BatchNorm in a recurrent network learns better from an initial gain of 0.1 than from 1.",
    source="Cooijmans, Ballas, Laurent, Gulcehre and Courville, 2016, arXiv:1603.09025",
    theme="recurrent nets",
    study=ADDING,
    hypotheses=(Comparative(LOSS, BN, "below", BN, at=SMALL, at_b=FULL),),
    scale=f"{SCALE}; statistics of each step of the sequence as in the source",
)
CLAIMS = (LN_RNN, LN_RNN_SMALL_BATCH, RBN_GAIN)
