"""A small U-Net with batch normalization, and images of bright discs on noise to segment."""

import numpy as np
import torch
from torch import nn


def block(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())


class SmallUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.bottom = block(1, 8), block(8, 16)
        self.up, self.head = block(24, 8), nn.Conv2d(8, 2, 1)

    def forward(self, images):
        fine = self.down(images)
        coarse = self.bottom(nn.functional.max_pool2d(fine, 2))
        return self.head(self.up(torch.cat([fine, nn.functional.interpolate(coarse, scale_factor=2)], dim=1)))


def discs(samples=50, size=16):
    """Images and the class of each pixel: 1 within a disc, whose brightness differs from image to image."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    row, column, radius, bright, level = rng.uniform(size=(5, samples, 1, 1))
    inside = (rows - size * row) ** 2 + (columns - size * column) ** 2 < (2 + 3 * radius) ** 2
    images = rng.normal(size=inside.shape) + (1 + 2 * bright) * inside + 4 * level
    return images[:, None].astype(np.float32), inside.astype(np.int64)
