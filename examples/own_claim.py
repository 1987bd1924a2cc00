"""A claim of one's own: hypotheses fixed before the runs, and the study that tests them.

normlab claims show own_claim:SMALL_BATCHES
normlab claims run own_claim:SMALL_BATCHES --seeds 20
"""

from normlab import Claim, Comparative, Interaction

BATCH_SIZE = "training.batch_size"

SMALL_BATCHES = Claim(
    id="small-batches",
    statement="In batches of eight GroupNorm is better than BatchNorm, and larger batches help BatchNorm more.",
    source="what my colleagues say",
    study={
        "norms": ["batch", "group:groups=10"],
        "tasks": ["digits"],
        "seeds": 20,
        "training": {"epochs": 5},
        "sweep": {BATCH_SIZE: [8, 128]},
    },
    hypotheses=(
        Comparative("test_loss", "group:groups=10", "below", "batch", at=((BATCH_SIZE, 8),)),
        Interaction("test_loss", "batch", "group:groups=10", BATCH_SIZE, 8, 128, "falls"),
    ),
)
