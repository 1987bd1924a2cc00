"""A norm of your own in a study: run `normlab run article --norm batch --norm own_norm:CENTRED` beside this file."""

from collections.abc import Mapping

from torch import Tensor, nn, zeros

from normlab import NormSpec, Slot


class Centred(nn.Module):
    """Subtracts the mean of each sample and adds a learned shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=1, keepdim=True) + self.shift


def build(slot: Slot, options: Mapping[str, object]) -> nn.Module:
    return Centred(slot.channels)


CENTRED = NormSpec(
    name="centred",
    title="Centred",
    formula="y = x - mean + beta, of each sample over its features",
    source="an example",
    axes={"NC": ("C",)},
    centred=True,
    scaled=False,
    couples_batch=False,
    train="Subtracts each sample's mean.",
    evaluate="The same as in training.",
    suits="Showing how a norm of one's own is compared.",
    breaks="Nothing in particular.",
    build=build,
    affine="beta (starts at 0) for each feature",
)
