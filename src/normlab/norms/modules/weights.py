"""Weight standardization, as a parametrization of a linear layer or convolution."""

from __future__ import annotations

from torch import Tensor, nn, rsqrt, var_mean


class StandardizedWeight(nn.Module):
    """(W - mean) / sqrt(var + eps) of each output over its fan-in, with the biased variance.

    S. Qiao, H. Wang, C. Liu, W. Shen and A. Yuille, 2019, arXiv:1903.10520. For
    ``torch.nn.utils.parametrize.register_parametrization``.

    Arguments:
        eps: added to the variance.
        outputs: the axis of the outputs; 1 for transposed convolutions.
    """

    def __init__(self, eps: float = 1e-6, outputs: int = 0) -> None:
        super().__init__()
        self.eps, self.outputs = eps, outputs

    def forward(self, weight: Tensor) -> Tensor:
        fan_in = tuple(axis for axis in range(weight.dim()) if axis != self.outputs)
        variance, mean = var_mean(weight, fan_in, correction=0, keepdim=True)
        return (weight - mean) * rsqrt(variance + self.eps)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight itself: standardizing happens when it is read."""
        return weight

    def extra_repr(self) -> str:
        return f"eps={self.eps}"
