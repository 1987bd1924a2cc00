"""A small residual network."""

from __future__ import annotations

from torch import Tensor, nn

from normlab.norms.slot import Slot
from normlab.tasks.models.parts import activation, start_gain
from normlab.tasks.spec import MakeNorm
from normlab.tasks.structure import Activation


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a norm behind each and a shortcut around both: act(shortcut(x) + f(x)).

    The shortcut is the identity, or a 1x1 convolution with a norm of the role ``shortcut`` where the shape changes.
    K. He et al., 2015, arXiv:1512.03385.
    """

    def __init__(
        self, path: str, sizes: tuple[int, int, int], extent: tuple[int, int], kind: Activation, make_norm: MakeNorm
    ) -> None:
        super().__init__()
        before, after, stride = sizes
        slot = Slot(after, "NCHW", extent, f"{path}.convolution1", f"{path}.activation1")
        self.convolution1 = nn.Conv2d(before, after, 3, stride, 1)
        self.norm1 = make_norm(slot)
        self.activation1 = activation(kind)
        self.convolution2 = nn.Conv2d(after, after, 3, 1, 1)
        self.norm2 = make_norm(Slot(after, "NCHW", extent, f"{path}.convolution2"))
        self.shortcut: nn.Module = nn.Identity()
        if before != after or stride > 1:
            projection = nn.Conv2d(before, after, 1, stride)
            norm = make_norm(Slot(after, "NCHW", extent, f"{path}.shortcut.0", role="shortcut"))
            self.shortcut = nn.Sequential(projection, norm)
        self.activation2 = activation(kind)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        inner = self.activation1(self.norm1(self.convolution1(x)))
        return self.activation2(self.shortcut(x) + self.norm2(self.convolution2(inner)))  # type: ignore[no-any-return]


class ResidualNet(nn.Module):
    """Convolution, norm and activation; stages of residual blocks; the mean over positions; a linear layer.

    Arguments:
        image: channels, height and width of a sample; samples are flat, row by row.
        classes: outputs.
        hidden: channels of the stages; each stage but the first halves the image (rounded up).
        blocks: residual blocks of a stage.
        kind: the nonlinearity.
        zero_gamma: whether the gain of the last norm in each block starts at 0, where the norm has one.
        make_norm: makes what stands in a slot.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        classes: int,
        hidden: tuple[int, ...],
        blocks: int,
        kind: Activation,
        zero_gamma: bool,
        make_norm: MakeNorm,
    ) -> None:
        super().__init__()
        channels, height, width = image
        self.image = nn.Unflatten(1, image)
        self.convolution = nn.Conv2d(channels, hidden[0], 3, 1, 1)
        self.norm = make_norm(Slot(hidden[0], "NCHW", (height, width), "convolution", "activation"))
        self.activation = activation(kind)
        self.blocks = nn.Sequential()
        before = hidden[0]
        for stage, after in enumerate(hidden):
            for number in range(blocks):
                stride = 2 if stage and not number else 1
                height, width = -(-height // stride), -(-width // stride)
                path = f"blocks.{len(self.blocks)}"
                block = ResidualBlock(path, (before, after, stride), (height, width), kind, make_norm)
                if zero_gamma:
                    start_gain(block.norm2, 0.0)
                self.blocks.append(block)
                before = after
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes."""
        x = self.activation(self.norm(self.convolution(self.image(x))))
        return self.linear(self.blocks(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]
