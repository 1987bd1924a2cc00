"""Compare two norms from Python: how fast the loss falls, who ends lower, and how sure that is."""

import normlab

study = normlab.Study(
    name="mine",
    norms=["batch", "layer"],
    tasks=["digits"],
    seeds=6,
    training=normlab.Training(epochs=4, batch_size=32),
)
results = normlab.run(study)

print(results.answer)
print(results.comparisons().select("metric", "a", "b", "difference", "ci_low", "ci_high", "p_holm", "verdict"))
results.plot("curves").savefig("curves.png")
