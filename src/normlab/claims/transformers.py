"""What is said of norms in transformers: which, where they stand, and what may be left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.claims.settings import LOSSES
from normlab.claims.spec import Claim, Comparative, Interaction, Original

LN, RMS, DYT, DERF = "layer", "rms", "dyt", "derf"
BITS = "test_bits"
SMALL = "a transformer of two blocks of width 32 on characters of Python source"
TEXT: Mapping[str, Any] = {"tasks": ["characters"], "seeds": 10, "measure": LOSSES}
ADAM: Mapping[str, Any] = {"batch_size": 32, "optimizer": "adam", "learning_rate": 3e-3}

RMS_IS_LN = Claim(
    id="rms-is-ln",
    statement="RMSNorm is as good as LayerNorm in a transformer.",
    source="Zhang and Sennrich, 2019, arXiv:1910.07467",
    theme="transformers",
    study={**TEXT, "norms": [RMS, LN], "training": {**ADAM, "epochs": 8}},
    hypotheses=(Comparative(BITS, RMS, "close to", LN, margin=0.02),),
    scale=(
        f"{SMALL}, for translation and question answering; that RMSNorm takes 7% to 64% less time is measured by "
        "`normlab profile`, which interleaves layers, and is no claim here: small models do not show it"
    ),
)
WARMUP, PLACEMENT = "training.warmup", "model.placement"
POST_COLD, POST_WARM = ((PLACEMENT, "post"), (WARMUP, 0)), ((WARMUP, 200),)
PRE_COLD = ((PLACEMENT, "pre"), (WARMUP, 0))
PRELN_WARMUP = Claim(
    id="preln-warmup",
    statement="Transformers with norms before their sublayers need no warm-up; with norms behind them they do.",
    source="Xiong et al., 2020, arXiv:2002.04745",
    theme="transformers",
    study={
        "norms": [LN],
        "tasks": ["modular-sum"],
        "seeds": 10,
        "training": {**ADAM, "epochs": 10},
        "model": {"depth": 8},
        "sweep": {PLACEMENT: ["pre", "post"], WARMUP: [0, 200]},
        "measure": LOSSES,
    },
    hypotheses=(
        Comparative("test_loss", LN, "above", LN, at=POST_COLD, at_b=POST_WARM),
        Comparative("test_loss", LN, "below", LN, at=PRE_COLD, at_b=((PLACEMENT, "post"),)),
        Comparative("test_accuracy", LN, "close to", LN, at=PRE_COLD, at_b=((WARMUP, 200),), margin=0.02),
    ),
    original=(Original("BLEU of translation, norms behind, at a rate of 1e-3 without and with warm-up", (8.45, 34.0)),),
    scale=(
        "eight blocks of width 32 on running sums modulo 5 for six encoder and six decoder blocks on translation; 320 "
        "steps at a rate of 3e-3"
    ),
)
DYT_LN = Claim(
    id="dyt-ln",
    statement="DyT is as good as LayerNorm in a transformer where data are plenty.",
    source="Zhu, Chen, He, LeCun and Liu, 2025, arXiv:2503.10622",
    theme="transformers",
    study={
        **TEXT,
        "norms": [DYT, LN],
        "tasks": ["characters-large"],
        "training": {**ADAM, "epochs": 2},
    },
    hypotheses=(Comparative(BITS, DYT, "close to", LN, margin=0.02),),
    original=(
        Original("change of the loss by DyT at 64M parameters and 118M tokens (arXiv:2604.23434)", (18.8,), "%"),
    ),
    scale=f"{SMALL}: 160,000 of them for 35,000 parameters, seen twice; alpha starts at 0.5",
)
DYT_LN_SCARCE = Claim(
    id="dyt-ln-scarce",
    statement="Where data are scarce, DyT regularizes: it is better than LayerNorm.",
    source="Verma, 2026, arXiv:2604.23434",
    theme="transformers",
    study={**TEXT, "norms": [DYT, LN], "training": {**ADAM, "samples": 200, "epochs": 45}},
    hypotheses=(Comparative(BITS, DYT, "below", LN),),
    original=(Original("change of the loss by DyT at 64M parameters and 1M tokens", (-27.3,), "%"),),
    scale=f"{SMALL}: 6,400 of them for 35,000 parameters, as many steps as with 5,000 windows; alpha starts at 0.5",
)
OPTIMIZER = "training.optimizer"
DYT_OPTIMIZER = Claim(
    id="dyt-optimizer",
    statement="How DyT and Derf stand to LayerNorm does not depend on the optimizer.",
    source="what recipes take for granted that replace LayerNorm and keep the optimizer: arXiv:2503.10622, 2512.10938",
    theme="transformers",
    study={
        **TEXT,
        "norms": [LN, DYT, DERF],
        "training": {"batch_size": 32, "learning_rate": 3e-3, "samples": 512, "epochs": 12},
        "sweep": {OPTIMIZER: ["adamw", "muon"]},
    },
    hypotheses=tuple(
        Interaction(BITS, norm, LN, OPTIMIZER, "adamw", "muon", "stays", margin=0.02) for norm in (DYT, DERF)
    ),
    scale=f"{SMALL}; Muon in updates of AdamW's size, so that both have the same rate",
)
CLAIMS = (RMS_IS_LN, PRELN_WARMUP, DYT_LN, DYT_LN_SCARCE, DYT_OPTIMIZER)
