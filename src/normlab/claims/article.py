"""What was said of the published study, each from one run, made testable.

The wording of the sources is kept in ``statement``; ``parts`` say what would have to be measured for it to hold.
"""

from __future__ import annotations

from normlab.claims.spec import Claim, Comparative, Threshold

SOURCE = "the published comparison of BatchNorm, LayerNorm and GroupNorm, one run each"
SETTING = {
    "hidden": (50,),
    "activation": "relu",
    "batch_size": 64,
    "epochs": 50,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
}
BN, LN, GN = "batch", "layer", "group:groups=5"

ARTICLE_A = Claim(
    "article-a",
    "All start high and drop quickly; BN converges fastest at first.",
    SOURCE,
    "article",
    SETTING,
    (
        *(Threshold("early_drop", norm, "at most", 0.5) for norm in (BN, LN, GN)),
        Comparative("early_log_canonical_loss", BN, "below", LN),
        Comparative("early_log_canonical_loss", BN, "below", GN),
    ),
)
ARTICLE_B = Claim(
    "article-b",
    "BN's loss fluctuates more strongly late in training than that of LN and GN.",
    SOURCE,
    "article",
    SETTING,
    (Comparative("fluctuation_total", BN, "above", LN), Comparative("fluctuation_total", BN, "above", GN)),
    sources_of=BN,
)
ARTICLE_C = Claim(
    "article-c",
    "LN and GN fall smoothly and alike; LN varies more than GN.",
    SOURCE,
    "article",
    SETTING,
    (
        Threshold("roughness", LN, "at most", 1.1),
        Threshold("roughness", GN, "at most", 1.1),
        Comparative("early_log_canonical_loss", LN, "close to", GN),
        Comparative("fluctuation_total", LN, "above", GN),
    ),
)
ARTICLE_D = Claim(
    "article-d",
    "The final losses are close; GN may be slightly lower.",
    SOURCE,
    "article",
    SETTING,
    (
        Comparative("final_loss", BN, "close to", LN),
        Comparative("final_loss", BN, "close to", GN),
        Comparative("final_loss", LN, "close to", GN),
    ),
)
