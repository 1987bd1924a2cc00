"""Batch renormalization: its schedule, its buffers beyond the start, and the gradient that stops at r and d."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from norm_cases import arrays, by_formula, some_input
from normlab import norms
from normlab.norms.catalog import parse

TEXT = "batch-renorm:rmax=1.6,dmax=0.5,start=2,rmax_at=8,dmax_at=5,momentum=0.3"


def test_every_step_of_the_schedule_is_by_the_formula() -> None:
    norm = parse(TEXT)
    layer = norms.BatchRenorm(6, 1.6, 0.5, 2, 8, 5, momentum=0.3).double().train()
    state = arrays(dict(layer.named_buffers()))
    clipped = 0
    for step in range(12):
        x = some_input("NCHW", seed=step) * (1 + step / 4) + step / 3
        expected, state = by_formula(norm, layer, "NCHW", x, state=state)
        rmax, dmax = layer.bounds()
        np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-6, atol=1e-7)
        assert float(rmax) == pytest.approx(1 + 0.6 * np.clip((step - 2) / 6, 0, 1))
        assert float(dmax) == pytest.approx(0.5 * np.clip((step - 2) / 3, 0, 1))
        clipped += int(step > 2)
    np.testing.assert_allclose(layer.running_std.numpy(), state["running_std"], rtol=1e-12)
    assert layer.num_batches_tracked == 12


def test_no_gradient_passes_through_the_correction() -> None:
    x = some_input("NC").requires_grad_()
    layer = norms.BatchRenorm(6, 3.0, 5.0, 0, 0, 0).double().train()
    with torch.no_grad():
        layer.running_mean += 0.4
        layer.running_std *= 1.7
    mean, std = x.mean(0), (x.var(0, correction=0) + 1e-5).sqrt()
    r, d = (std / layer.running_std).detach(), ((mean - layer.running_mean) / layer.running_std).detach()
    assert float(r.max()) < 3
    assert float(d.abs().max()) < 5
    expected = (x - mean) / std * r + d
    weights = torch.arange(24, dtype=torch.float64).view(4, 6).cos()
    (by_hand,) = torch.autograd.grad((expected * weights).sum(), x)
    (gradient,) = torch.autograd.grad((layer(x) * weights).sum(), x)
    torch.testing.assert_close(gradient, by_hand)
    (through,) = torch.autograd.grad((((x - layer.running_mean) / layer.running_std) * weights).sum(), x)
    assert not torch.allclose(gradient, through)
