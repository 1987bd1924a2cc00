"""My batch is 2: what should replace BatchNorm in my segmentation net?"""

from small_unet import SmallUNet, discs

import normlab

if __name__ == "__main__":
    results = normlab.compare(SmallUNet, discs(), ["group:groups=4", "instance"], batch_size=2, epochs=4, seeds=10)
    print(results.answer)
    columns = ["norm", "test_loss_deployed", "test_accuracy_deployed", "seconds_per_step", "last_step_memory"]
    print(results.metrics().select(columns).group_by("norm", maintain_order=True).mean())
    print(results.comparisons().filter(metric="test_loss_deployed").select("a", "b", "verdict", "ci_low", "ci_high"))
    results.plot("curves").savefig("segmentation.png")
