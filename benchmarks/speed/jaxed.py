"""Training all replicas at once in JAX: ``jit(vmap(scan))``, everything written out in ``jax.numpy``."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from speed.job import Contender, Job, Timed, Unavailable

Parameters = dict[str, Any]
Layer = Callable[[Parameters, Any], Any]
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def scanned(job: Job, patches: bool = False) -> Contender:
    """Each replica a scan over its epochs and batches, all of them under one ``vmap``, compiled as a whole.

    With ``patches`` a convolution is written as a matrix product of its patches: XLA turns convolutions with
    different weights for each replica into grouped ones, which are slow on CPUs.
    """
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        raise Unavailable("JAX is not installed: pip install -e '.[bench]'") from None
    model = job.model()
    train_one = _training(job, translate(model, patches))
    fast = jax.jit(jax.vmap(train_one, in_axes=(0, 0, None, None)))
    inputs, targets, order = jnp.asarray(job.inputs), jnp.asarray(job.targets), jnp.asarray(job.order)

    def begin() -> Parameters:
        fresh = {name: value.detach().numpy() for name, value in model.named_parameters()}
        stacked = {name: np.broadcast_to(value, (job.replicas, *value.shape)) for name, value in fresh.items()}
        return {name: jnp.asarray(value) for name, value in (stacked | job.weights).items()}

    parameters = begin()

    def train() -> Timed:
        began = perf_counter()
        losses = np.asarray(fast(parameters, order, inputs, targets))
        return Timed(perf_counter() - began, losses)

    key, form = ("jax-patches", ", convolutions as products") if patches else ("jax", "")
    return Contender(key, f"JAX {jax.__version__} jit(vmap(scan)){form}", job.replicas, job.steps, train)


def _training(job: Job, forward: Layer) -> Callable[..., Any]:
    """A function of one replica: initial parameters, order of the samples, data -> loss of every step."""
    import jax
    import jax.numpy as jnp

    size, rate = job.training.batch_size, job.training.learning_rate
    full = job.order.shape[2] // size * size

    def loss(parameters: Parameters, inputs: Any, targets: Any) -> Any:
        scores = jax.nn.log_softmax(forward(parameters, inputs))
        return -jnp.take_along_axis(scores, targets[:, None], axis=1).mean()

    def step(state: tuple[Any, ...], batch: tuple[Any, Any]) -> tuple[tuple[Any, ...], Any]:
        weights, first, second, count = state
        value, slopes = jax.value_and_grad(loss)(weights, *batch)
        count = count + 1
        length, root = rate / (1 - BETA1**count), jnp.sqrt(1 - BETA2**count)
        first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, slopes)
        second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, slopes)
        weights = jax.tree.map(lambda w, m, v: w - length * m / (jnp.sqrt(v) / root + EPS), weights, first, second)
        return (weights, first, second, count), value

    def train_one(weights: Parameters, order: Any, inputs: Any, targets: Any) -> Any:
        def epoch(state: tuple[Any, ...], permutation: Any) -> tuple[tuple[Any, ...], Any]:
            x, y = inputs[permutation], targets[permutation]
            whole = (x[:full].reshape(-1, size, *x.shape[1:]), y[:full].reshape(-1, size))
            state, losses = jax.lax.scan(step, state, whole)
            if full < len(permutation):
                state, last = step(state, (x[full:], y[full:]))
                losses = jnp.append(losses, last)
            return state, losses

        zeros = jax.tree.map(jnp.zeros_like, weights)
        _, losses = jax.lax.scan(epoch, (weights, zeros, zeros, jnp.float32(0)), order)
        return losses.reshape(-1)

    return train_one


def translate(model: nn.Module, patches: bool = False) -> Layer:
    """A sequential PyTorch model in training mode as a function of its parameters in JAX.

    Raises:
        Unavailable: the model holds a layer that has no translation here.
    """
    if not isinstance(model, nn.Sequential):
        raise Unavailable(f"only sequential models are translated to JAX, not {type(model).__name__}")
    layers = [_layer(name, module, patches) for name, module in model.named_children()]

    def forward(parameters: Parameters, values: Any) -> Any:
        for layer in layers:
            values = layer(parameters, values)
        return values

    return forward


def _layer(name: str, module: nn.Module, patches: bool) -> Layer:
    """One layer; running statistics are left out, in JAX's favour."""
    import jax.numpy as jnp

    match module:
        case nn.Identity():
            return lambda p, x: x
        case nn.Linear():
            return lambda p, x: x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
        case nn.ReLU():
            return lambda p, x: jnp.where(x > 0, x, 0)
        case nn.Flatten():
            return lambda p, x: x.reshape(len(x), -1)
        case nn.Unflatten():
            return lambda p, x: x.reshape(len(x), *module.unflattened_size)
        case nn.Conv2d():
            return _convolution(name, module, patches)
        case nn.MaxPool2d() | nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
            return _pooling(module)
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.LayerNorm() | nn.GroupNorm():
            return _normalization(name, module)
    raise Unavailable(f"{type(module).__name__} has no translation to JAX")


def _convolution(name: str, module: nn.Conv2d, patches: bool) -> Layer:
    import jax.numpy as jnp
    from jax import lax

    if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise Unavailable("only plain convolutions are translated to JAX")
    padding = [(size, size) for size in module.padding]
    (height, width), (down, right) = module.kernel_size, module.stride

    def convolve(p: Parameters, x: Any) -> Any:
        return lax.conv_general_dilated(x, p[f"{name}.weight"], module.stride, padding)

    def multiply(p: Parameters, x: Any) -> Any:
        x = jnp.pad(x, ((0, 0), (0, 0), *padding))
        rows, columns = (x.shape[2] - height) // down + 1, (x.shape[3] - width) // right + 1
        parts = [
            x[:, :, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * right + 1 : right]
            for i in range(height)
            for j in range(width)
        ]
        weight = p[f"{name}.weight"]
        spread = jnp.stack(parts, axis=2).reshape(len(x), -1, rows * columns)  # sample, channel and place, position
        return (weight.reshape(len(weight), -1) @ spread).reshape(len(x), -1, rows, columns)

    def layer(p: Parameters, x: Any) -> Any:
        y = multiply(p, x) if patches else convolve(p, x)
        return y if module.bias is None else y + p[f"{name}.bias"][:, None, None]

    return layer


def _pooling(module: nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d) -> Layer:
    import jax.numpy as jnp

    if isinstance(module, nn.AdaptiveAvgPool2d):
        if module.output_size not in (1, (1, 1)):
            raise Unavailable("only global average pooling is translated to JAX")
        return lambda p, x: x.mean(axis=(2, 3), keepdims=True)
    size = module.kernel_size if isinstance(module.kernel_size, tuple) else (module.kernel_size,) * 2
    if module.padding not in (0, (0, 0)) or module.stride not in (module.kernel_size, size):
        raise Unavailable("only pooling without overlap and padding is translated to JAX")

    def pool(p: Parameters, x: Any) -> Any:
        n, c, h, w = x.shape
        blocks = x[:, :, : h // size[0] * size[0], : w // size[1] * size[1]]
        blocks = blocks.reshape(n, c, h // size[0], size[0], w // size[1], size[1])
        return blocks.max(axis=(3, 5)) if isinstance(module, nn.MaxPool2d) else jnp.mean(blocks, axis=(3, 5))

    return pool


def _normalization(name: str, module: nn.Module) -> Layer:
    import jax.numpy as jnp

    def standardize(x: Any, axes: tuple[int, ...]) -> Any:
        centred = x - x.mean(axis=axes, keepdims=True)
        return centred / jnp.sqrt((centred * centred).mean(axis=axes, keepdims=True) + module.eps)

    def statistics(x: Any) -> Any:
        if isinstance(module, nn.GroupNorm):
            parts = x.reshape(len(x), module.num_groups, -1)
            return standardize(parts, (2,)).reshape(x.shape)
        if isinstance(module, nn.LayerNorm):
            return standardize(x, tuple(range(-len(module.normalized_shape), 0)))
        return standardize(x, (0, *range(2, x.ndim)))

    def affine(p: Parameters, x: Any) -> Any:
        y = statistics(x)
        if f"{name}.weight" not in p:
            return y
        shape = (-1,) if isinstance(module, nn.LayerNorm) else (-1, *(1 for _ in x.shape[2:]))
        if isinstance(module, nn.LayerNorm):
            return y * p[f"{name}.weight"] + p[f"{name}.bias"]
        return y * p[f"{name}.weight"].reshape(shape) + p[f"{name}.bias"].reshape(shape)

    return affine
