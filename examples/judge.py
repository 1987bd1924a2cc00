"""Judge runs that were trained elsewhere: a table as a tracker exports it becomes verdicts, pictures and a page."""

import csv
import random

import normlab

random.seed(0)
with open("runs.csv", "w", newline="") as file:  # in place of your own: one row for each run
    table = csv.writer(file)
    table.writerow(["Name", "norm", "seed", "batch_size", "val_loss", "val_acc"])
    for seed in range(16):
        luck = random.gauss(0, 0.02)  # what runs of one seed share: initial weights, data and their order
        for norm, typical in {"batch": 0.46, "group": 0.40, "layer": 0.45}.items():
            loss = typical * (1 + luck + random.gauss(0, 0.03))
            table.writerow([f"{norm}-{seed}", norm, seed, 2, round(loss, 4), round(1 - loss / 4, 4)])

judgement = normlab.judge(
    "runs.csv", arm="norm", seed="seed", metrics=["val_loss:lower", "val_acc:higher"], margin="2%", control="batch"
)
print(judgement.answer)
for sentence in judgement.sentences():
    print("-", sentence)
print(judgement.table().select("metric", "a", "b", "ci_low", "ci_high", "p_holm", "verdict", "seeds_needed"))
judgement.report("judged")  # report.html, differences.png, values.png, summary.json, comparisons.csv
