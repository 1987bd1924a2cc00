"""What was said of the published study, each from one run, made testable.

The wording of the sources is kept in ``statement``; the hypotheses say what would have to be measured for it to hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.claims.settings import BATCH_SIZE, LOSSES
from normlab.claims.spec import Claim, Comparative, Interaction, Threshold, Trend

SOURCE = "the published comparison of BatchNorm, LayerNorm and GroupNorm, one run each"
BN, LN, GN = "batch", "layer", "group:groups=5"
STUDY: Mapping[str, Any] = {
    "norms": [BN, LN, GN],
    "tasks": ["article"],
    "seeds": 30,
    "model": {"hidden": [50], "activation": "relu"},
    "training": {"batch_size": 64, "epochs": 50, "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0},
}
EPOCHS = "training.epochs"
SOURCES = ("fluctuation_iterate", "fluctuation_sampling", "fluctuation_batch_statistics")


def _sweep(path: str, values: list[int]) -> dict[str, Any]:
    """The article's study with several values of one of its training fields."""
    name = path.partition(".")[2]
    training = {field: value for field, value in STUDY["training"].items() if field != name}
    return {**STUDY, "training": training, "sweep": {path: values}}


ARTICLE_A = Claim(
    id="article-a",
    quick=True,
    statement="All start high and drop quickly; BN converges fastest at first.",
    source=SOURCE,
    theme="convergence",
    study=STUDY,
    hypotheses=(
        *(Threshold("early_drop", norm, "at most", 0.5) for norm in (BN, LN, GN)),
        Comparative("early_log_canonical_loss", BN, "below", LN),
        Comparative("early_log_canonical_loss", BN, "below", GN),
    ),
)
ARTICLE_B = Claim(
    id="article-b",
    quick=True,
    statement="BN's loss fluctuates more strongly late in training than that of LN and GN.",
    source=SOURCE,
    theme="regularization and noise",
    study=STUDY,
    hypotheses=(
        Comparative("fluctuation_total", BN, "above", LN),
        Comparative("fluctuation_total", BN, "above", GN),
    ),
    sources_of=BN,
)
ARTICLE_B_BATCH = Claim(
    id="article-b-batch",
    statement="A larger batch reduces the late fluctuation of BN's loss, and each of its sources.",
    source=SOURCE,
    theme="batch size",
    study=_sweep(BATCH_SIZE, [16, 32, 64, 128, 256, 512]),
    hypotheses=tuple(Trend(metric, BN, BATCH_SIZE, "falls") for metric in ("fluctuation_total", *SOURCES)),
)
ARTICLE_C = Claim(
    id="article-c",
    statement="LN and GN fall smoothly and alike; LN varies more than GN.",
    source=SOURCE,
    theme="regularization and noise",
    study=STUDY,
    hypotheses=(
        Threshold("roughness", LN, "at most", 1.1),
        Threshold("roughness", GN, "at most", 1.1),
        Comparative("early_log_canonical_loss", LN, "close to", GN),
        Comparative("fluctuation_total", LN, "above", GN),
    ),
)
ARTICLE_D = Claim(
    id="article-d",
    quick=True,
    statement="The final losses are close; GN may be slightly lower.",
    source=SOURCE,
    theme="convergence",
    study=STUDY,
    hypotheses=(
        Comparative("final_loss", BN, "close to", LN),
        Comparative("final_loss", BN, "close to", GN),
        Comparative("final_loss", LN, "close to", GN),
    ),
)

LARGE, SMALL = ((BATCH_SIZE, 256),), ((BATCH_SIZE, 8),)
GN4 = "group:groups=4"
ARTICLE_E = Claim(
    id="article-e",
    statement="BN is for large batches; LN and, in CNNs, GN for small ones; GN depends little on the batch size.",
    source=SOURCE,
    theme="batch size",
    study={
        "norms": [BN, LN, GN4],
        "tasks": ["digits", "digits-cnn"],
        "seeds": 12,
        "training": {"epochs": 8, "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0},
        "sweep": {BATCH_SIZE: [8, 256]},
        "measure": LOSSES,
    },
    hypotheses=(
        Comparative("test_loss", BN, "below", LN, task="digits", at=LARGE),
        Comparative("test_loss", LN, "below", BN, task="digits", at=SMALL),
        Comparative("test_loss", BN, "below", GN4, task="digits-cnn", at=LARGE),
        Comparative("test_loss", GN4, "below", BN, task="digits-cnn", at=SMALL),
        Interaction("test_loss", BN, GN4, BATCH_SIZE, 8, 256, "falls", task="digits"),
        Interaction("test_loss", BN, GN4, BATCH_SIZE, 8, 256, "falls", task="digits-cnn"),
    ),
)
ARTICLE_E_RECURRENT = Claim(
    id="article-e-recurrent",
    statement="LN is for recurrent nets, whatever the size of the batches.",
    source=SOURCE,
    theme="recurrent nets",
    study={
        "norms": [BN, LN],
        "tasks": ["digits-lstm", "digits-gru"],
        "seeds": 12,
        "training": {"epochs": 5, "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0},
        "sweep": {BATCH_SIZE: [8, 256]},
        "measure": LOSSES,
    },
    hypotheses=tuple(
        Comparative("test_loss", LN, "below", BN, task=task, at=at)
        for task in ("digits-lstm", "digits-gru")
        for at in (SMALL, LARGE)
    ),
)
ARTICLE_F = Claim(
    id="article-f",
    statement="Not all had converged; after sixteen times the steps they have, and BN stands differently by then.",
    source=SOURCE,
    theme="convergence",
    study={**_sweep(EPOCHS, [50, 200, 800]), "seeds": 16, "measure": LOSSES},
    hypotheses=(
        *(Threshold("projected_gain", norm, "at least", 0.01, at=((EPOCHS, 50),)) for norm in (BN, LN, GN)),
        *(Threshold("projected_gain", norm, "at most", 0.01, at=((EPOCHS, 800),)) for norm in (BN, LN, GN)),
        *(
            Interaction("test_loss", BN, other, EPOCHS, 50, last, "changes")
            for last in (200, 800)
            for other in (LN, GN)
        ),
    ),
)
CLAIMS = (
    ARTICLE_A,
    ARTICLE_B,
    ARTICLE_B_BATCH,
    ARTICLE_C,
    ARTICLE_D,
    ARTICLE_E,
    ARTICLE_E_RECURRENT,
    ARTICLE_F,
)
