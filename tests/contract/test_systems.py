"""Every norm with what PyTorch does to modules: copies, checkpoints, autocast, vmap, compile, export, ONNX."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from norm_cases import CASES, WITH_VARIANTS, slot_of, some_input
from normlab.norms.catalog import parse
from normlab.norms.spec import Norm

ONCE = {case.values[0].spec.name: case for case in CASES if case.values[1] in ("NC", "NCHW")}.values()


def whole(norm: Norm, layout: str) -> nn.Module:
    """The layer in training mode; a norm of weights comes with a linear layer or convolution before it."""
    layer = norm.build(slot_of(layout)).train()
    if norm.spec.wrap is None:
        return layer
    kinds = {"NCL": nn.Conv1d, "NCHW": nn.Conv2d, "NCDHW": nn.Conv3d}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = kinds[layout](6, 6, 3, padding=1) if layout in kinds else nn.Linear(6, 6)
        return nn.Sequential(norm.spec.wrap(before, norm.options), layer).train()


def ready(norm: Norm, layout: str, seed: int = 0) -> nn.Module:
    """The layer with parameters of its own and after a step."""
    layer = whole(norm, layout)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += torch.rand(parameter.shape, generator=generator) / 2
        layer(some_input(layout, seed=seed + 20).float())
    return layer


def same_buffers(first: nn.Module, second: nn.Module) -> None:
    for (name, value), (_, other) in zip(first.named_buffers(), second.named_buffers(), strict=True):
        torch.testing.assert_close(value, other, msg=name)


@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_copies_and_checkpoints_behave_as_the_original(norm: Norm, layout: str) -> None:
    layer, x = ready(norm, layout), some_input(layout).float()
    fresh = whole(norm, layout)
    stored = io.BytesIO()
    torch.save(layer.state_dict(), stored)
    stored.seek(0)
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    others = {"copy": copy.deepcopy(layer), "state dict": fresh}
    if "pickle" in norm.spec.exceptions:
        with pytest.raises(RuntimeError, match="state_dict"):
            pickle.dumps(layer)
    else:
        others["pickle"] = pickle.loads(pickle.dumps(layer))
    expected = layer(x)
    for name, other in others.items():
        assert torch.equal(other(x), expected), name
        same_buffers(other, layer)
        assert torch.equal(other.eval()(x), layer.eval()(x)), name
        layer.train()


@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_autocast_keeps_to_the_type_of_the_input_and_near_float32(norm: Norm, layout: str) -> None:
    x = some_input(layout).bfloat16()
    expected = ready(norm, layout)(x.float())
    with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's RMSNorm, that mixed types take its slower path
        low, high = ready(norm, layout)(x), ready(norm, layout)(x.float())
    kept = torch.float32 if norm.spec.wrap is None else torch.bfloat16  # autocast runs the layer before in bfloat16
    assert (low.dtype, high.dtype) == (torch.bfloat16, kept)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(low.float(), expected, rtol=0, atol=2e-2 * scale)
    torch.testing.assert_close(high.float(), expected, rtol=0, atol=2e-2 * scale)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's weight norm, one replica at a time
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("norm", "layout"), WITH_VARIANTS)
def test_replicas_under_vmap_are_the_replicas_one_by_one(norm: Norm, layout: str, training: bool) -> None:
    replicas = [ready(norm, layout, seed).train(training) for seed in range(3)]
    inputs = torch.stack([some_input(layout, seed).float() for seed in range(3)])
    one = replicas[0]
    stateful = bool(list(one.parameters()) or list(one.buffers()))
    parameters, buffers = stack_module_state(replicas) if stateful else ({}, {})

    def apply(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(one, (p, b), (x,))

    if training and "vmap" in norm.spec.exceptions:
        with pytest.raises(RuntimeError, match="Batching rule not implemented"):
            vmap(apply)(parameters, buffers, inputs)
        return
    together = vmap(apply)(parameters, buffers, inputs)
    apart = torch.stack([layer(x) for layer, x in zip(replicas, inputs, strict=True)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
    for name, stacked in buffers.items():
        torch.testing.assert_close(stacked, torch.stack([layer.get_buffer(name) for layer in replicas]), msg=name)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("norm", "layout"), ONCE)
def test_compiled_and_exported_forms_agree(norm: Norm, layout: str, training: bool) -> None:
    x = some_input(layout).float()
    eager, compiled, exported = (ready(norm, layout).train(training) for _ in range(3))
    torch._dynamo.reset()
    given, for_compiled = (x.clone().requires_grad_() for _ in range(2))
    expected = eager(given)
    result = torch.compile(compiled, backend="aot_eager", fullgraph=True)(for_compiled)
    torch.testing.assert_close(result, expected)
    for y in (expected, result):
        (y * torch.arange(y.numel()).view(y.shape)).sum().backward()
    torch.testing.assert_close(for_compiled.grad, given.grad, rtol=1e-4, atol=1e-3)
    same_buffers(compiled, eager)
    torch.testing.assert_close(torch.export.export(exported, (x,)).module()(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "layout"), ONCE)
def test_compiled_by_inductor_agrees(norm: Norm, layout: str) -> None:
    x = some_input(layout).float()
    eager, compiled = ready(norm, layout), ready(norm, layout)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about itself
        result = torch.compile(compiled)(x)
    torch.testing.assert_close(result, eager(x), rtol=1e-5, atol=1e-5)
    same_buffers(compiled, eager)


@pytest.mark.parametrize("chunks", [[2, 2], [2, 3]])
def test_chunks_of_a_ghost_batch_survive_compilation_and_export(chunks: list[int]) -> None:
    norm, x = parse("ghost:size=2"), some_input("NCHW", samples=sum(chunks)).float()
    eager, compiled, exported = (ready(norm, "NCHW") for _ in range(3))
    torch._dynamo.reset()
    expected = eager(x)
    torch.testing.assert_close(torch.compile(compiled, backend="aot_eager", fullgraph=True)(x), expected)
    same_buffers(compiled, eager)
    torch.testing.assert_close(torch.export.export(exported, (x,)).module()(x), expected)


@pytest.mark.parametrize("norm", [case.values[0] for case in ONCE if case.values[1] == "NCHW"], ids=str)
def test_export_takes_batches_of_any_size(norm: Norm) -> None:
    x, more = (some_input("NCHW", samples=samples).float() for samples in (4, 7))
    layer = ready(norm, "NCHW")
    shapes = ({0: torch.export.Dim("samples", min=2)},)
    if "dynamic export" in norm.spec.exceptions:
        with pytest.raises(Exception, match="samples"):
            torch.export.export(layer, (x,), dynamic_shapes=shapes)
        return
    program = torch.export.export(layer, (x,), dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(more), ready(norm, "NCHW")(more))


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "layout"), ONCE)
def test_onnx_gives_the_evaluation_of_the_layer(norm: Norm, layout: str) -> None:
    pytest.importorskip("onnxscript", reason="the extra `test` brings onnx and onnxscript")
    evaluator = pytest.importorskip("onnx.reference", reason="the extra `test` brings onnx and onnxscript")
    layer, x = ready(norm, layout).eval(), some_input(layout).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        model = torch.onnx.export(layer, (x,), dynamo=True, verbose=False).model_proto
    (result,) = evaluator.ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(result), layer(x).detach(), rtol=1e-5, atol=1e-5)
