"""What share of a step do the norms of a model take? A small ResNet and a transformer, built from configurations.

From the command: `normlab profile --model profile_model:resnet --input 8,3,64,64 --norm group:groups=8` beside this
file.
"""

from dataclasses import dataclass

from torch import Tensor, nn

import normlab


@dataclass(frozen=True)
class Configuration:
    """Widths of the stages, and blocks in each."""

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    classes: int = 10


SMALL = Configuration()


class Block(nn.Module):
    """Two convolutions with BatchNorm beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.convolution2(self.relu(self.norm1(self.convolution1(x)))))
        return self.relu(y + self.shortcut(x))


def resnet(configuration: Configuration = SMALL) -> nn.Module:
    """A stem, one stage for each width, and a classifier."""
    width = configuration.widths[0]
    parts: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
    for stage, outputs in enumerate(configuration.widths):
        for block in range(configuration.blocks):
            parts.append(Block(width, outputs, 2 if stage and not block else 1))
            width = outputs
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, configuration.classes))


def transformer() -> nn.Module:
    """Two encoder layers of width 64, and a last LayerNorm."""
    layer = nn.TransformerEncoderLayer(64, nhead=4, dim_feedforward=128, batch_first=True)
    return nn.TransformerEncoder(layer, num_layers=2, norm=nn.LayerNorm(64), enable_nested_tensor=False)


if __name__ == "__main__":
    for name, build, shape, other in (
        ("ResNet", resnet, "4,3,32,32", "group:groups=8"),
        ("Transformer", transformer, "4,16,64", "rms"),
    ):
        found = normlab.profile_model(build(), shape, norms=[other], repeats=5)
        print(f"{name}: {len(found.norms)} norms take {found.share.median:.1%} of a step.")
        for norm in found.norms:
            print(f"  {norm.name} ({norm.kind}, {norm.shape}): {norm.share.median:.2%}")
        print(f"  All as {other}, they would take {found.swapped[0].share.median:.1%}.")
        normlab.write_profile(found, name.lower())
