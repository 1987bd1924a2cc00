"""What stands against a swap is said with its place and the way out, and nothing else is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import normlab
from normlab import norms
from normlab.errors import InputError
from normlab.surgery.obstacles import refuse

X = torch.ones(1, 3, 4, 4)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())


def tracking() -> nn.Module:
    return norms.AffineInstanceNorm2d(4, track_running_stats=True)


def compiled_inside() -> nn.Module:
    model = nn.Sequential(net(), nn.ReLU())
    model[0].compile(backend="eager")
    return model


def compiled_forward() -> nn.Module:
    model = net()
    model.forward = torch.compile(model.forward, backend="eager")
    return model


def quietly(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that these forms are old ones
        return make()


def qat() -> nn.Module:
    from torch.ao.quantization import fuse_modules_qat, get_default_qat_qconfig, prepare_qat

    model = net().train()
    model.qconfig = get_default_qat_qconfig("x86")
    return prepare_qat(fuse_modules_qat(model, [["0", "1", "2"]]))


def observed() -> nn.Module:
    from torch.ao.quantization import get_default_qconfig, prepare

    model = net().eval()
    model.qconfig = get_default_qconfig("x86")
    return prepare(model)


def quantized() -> nn.Module:
    from torch.ao.quantization import convert

    model = observed()
    model(X)
    return convert(model)


OBSTACLES: dict[str, tuple[Callable[[], Any], str]] = {
    "compiled": (
        lambda: torch.compile(net(), backend="eager"),
        r"OptimizedModule, compiled by torch\.compile.*_orig_mod",
    ),
    "compiled in place": (compiled_inside, r"'0' \(Sequential\), compiled in place\. Swap first"),
    "compiled forward": (compiled_forward, r"got Sequential, compiled in place"),
    "parallel": (lambda: nn.DataParallel(net()), r"wrapped in DataParallel\. Swap in the model itself, `\.module`"),
    "script": (lambda: torch.jit.script(net()), r"a script of TorchScript"),
    "trace": (lambda: torch.jit.trace(net(), X), r"a trace of TorchScript"),
    "exported": (lambda: torch.export.export(net().eval(), (X,)), r"ExportedProgram, an exported program"),
    "qat": (qat, r"'0' \(ConvBnReLU2d\), quantized or prepared for it\. Swap in the float model"),
    "observed": (observed, r"quantized or prepared for it"),
    "quantized": (quantized, r"'0' \(Conv2d\), quantized or prepared for it"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(3, 1)), r"'0' \(LazyConv2d\), which waits for its first batch"),
    "no model": (lambda: net, r"must be a `torch\.nn\.Module`; got builtins\.function"),
    "a class": (lambda: nn.ReLU, r"must be a `torch\.nn\.Module`; got builtins\.type"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_it_is_named_with_the_way_out(name: str) -> None:
    make, message = OBSTACLES[name]
    with pytest.raises(InputError, match=message):
        refuse(quietly(make))


def test_distributed_models_are_told_to_unwrap(tmp_path_factory: pytest.TempPathFactory) -> None:
    from torch import distributed

    store = tmp_path_factory.mktemp("group") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    try:
        with pytest.raises(InputError, match=r"wrapped in DistributedDataParallel.*`\.module`"):
            refuse(nn.parallel.DistributedDataParallel(net()))
        from torch.distributed.fsdp import fully_shard

        model = nn.Sequential(net())
        quietly(lambda: fully_shard(model[0], mesh=distributed.init_device_mesh("cpu", (1,))))
        with pytest.raises(InputError, match=r"'0' \(FSDPSequential\), sharded by FSDP\. Swap first"):
            refuse(model)
        from torch.distributed.tensor import distribute_module

        model = distribute_module(net(), distributed.init_device_mesh("cpu", (1,)))
        with pytest.raises(InputError, match=r"'1' \(BatchNorm2d\), sharded among processes"):
            refuse(model, places=["1"])
    finally:
        distributed.destroy_process_group()


def test_parameters_beneath_a_wrapper_of_several_processes_are_not_changed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """torch's reducer raises an internal assertion at the next step, and never averages the gradients of new ones."""
    from torch import distributed

    store = tmp_path_factory.mktemp("group") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    try:
        model = net()
        wrapper = nn.parallel.DistributedDataParallel(model)
        wrapper(X).mean().backward()
        message = r"must not be in a wrapper; got a model beneath DistributedDataParallel.*del wrapper"
        with pytest.raises(InputError, match=message):
            normlab.swap(model, "group:groups=1", copy=False)
        with pytest.raises(InputError, match=message):
            normlab.freeze(model, affine=True, copy=False)
        normlab.freeze(model, copy=False)  # no parameter changes
        normlab.unfreeze(model, copy=False)
        wrapper(X).mean().backward()
        normlab.swap(model, "group:groups=1")
        normlab.swap(model, "group:groups=1", where="not:1", copy=False)
        del wrapper
        normlab.freeze(model, affine=True, copy=False)
        wrapper = nn.parallel.DistributedDataParallel(model)
        with pytest.raises(InputError, match=message):
            normlab.unfreeze(model, copy=False)
        del wrapper
        normlab.unfreeze(model, copy=False)
        swapped, _ = normlab.swap(model, "group:groups=1", copy=False)
        wrapper = nn.parallel.DistributedDataParallel(swapped)
        for _ in range(2):
            wrapper(X).mean().backward()
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("copied", [True, False])
def test_a_script_in_a_part_is_left_alone_and_the_rest_is_swapped(copied: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), quietly(lambda: torch.jit.script(nn.BatchNorm2d(4))), nn.BatchNorm2d(4))
    swapped, report = normlab.swap(model, "group:groups=2", example_inputs=X, copy=copied)
    assert report.replaced == ("2",)
    assert "a script of TorchScript" in report.entries[0].reason
    assert isinstance(swapped[2], nn.GroupNorm)
    swapped(X).sum().backward()
    assert swapped[1].weight.grad is not None, "torch's own copy of a script does not train"
    with pytest.raises(InputError, match="a script of TorchScript"):
        normlab.swap(model, "group:groups=2", where="1")


def test_what_watches_layers_takes_no_script_and_says_which_norms_of_one_it_left() -> None:
    for operation in (normlab.watch, normlab.doctor, lambda model: normlab.recalibrate(model, X)):
        with pytest.raises(InputError, match=r"must be a module of Python.*Give the module that was scripted"):
            operation(quietly(lambda: torch.jit.script(net())))
    model = nn.Sequential(nn.Conv2d(3, 4, 1), quietly(lambda: torch.jit.script(nn.BatchNorm2d(4))), nn.BatchNorm2d(4))
    _, report = normlab.recalibrate(model, X)
    assert report.layers == ("2",)
    assert "a script of TorchScript" in report.reason("1")


def test_a_model_without_numbers_is_refused_by_what_computes_with_it() -> None:
    data = (X, torch.zeros(len(X), dtype=torch.long))
    for part in ("", "1"):
        model = net().eval()
        model.get_submodule(part).to("meta")
        for operation in (
            lambda model: normlab.recalibrate(model, X),
            lambda model: normlab.fold(model, X),
            lambda model: normlab.swap(model, "group:groups=1", example_inputs=X),
            lambda model: normlab.compare(model, data, ["none"], seeds=1, epochs=1),
        ):
            with pytest.raises(InputError, match=r"must hold numbers.*to_empty"):
                operation(model)


def test_an_obstacle_elsewhere_does_not_count() -> None:
    model = nn.Sequential(net(), quietly(lambda: torch.jit.script(net())))
    refuse(model, places=["0.1"])
    with pytest.raises(InputError, match=r"got '1' \(RecursiveScriptModule\)"):
        refuse(model, places=["0.1", "1.1"])
    model = nn.Sequential(net(), quantized_part())
    with pytest.raises(InputError, match="quantized"):
        refuse(model, places=["0.1"])  # its ranges were measured with the norms as they are


def quantized_part() -> nn.Module:
    return quietly(quantized)


def test_what_works_is_not_refused() -> None:
    with torch.device("meta"):
        refuse(net())
    refuse(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))))
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    refuse(quietly(lambda: torch.ao.quantization.quantize_dynamic(model)))
    prepared = net()
    prepared.qconfig = torch.ao.quantization.get_default_qconfig("x86")  # not prepared yet
    refuse(prepared)


def test_a_graph_of_fx_calls_its_layers_by_name() -> None:
    graph = torch.fx.symbolic_trace(nn.Sequential(net(), net().eval()[1:], nn.Conv2d(4, 4, 1)).eval())
    refuse(graph)
    before = graph(X)
    graph.set_submodule("0.1", nn.GroupNorm(2, 4))
    assert not torch.equal(graph(X), before)
    assert graph(X).isfinite().all()


@pytest.mark.parametrize("to", ["group:groups=2", "rms", "instance", "layer"])
def test_what_comes_back_can_be_scripted_where_the_message_says_so(to: str) -> None:
    inputs = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    model: nn.Module = (
        net() if to in ("group:groups=2", "instance") else nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    )
    swapped, _ = normlab.swap(model, to, example_inputs=inputs)
    expected = swapped(inputs)
    script = quietly(lambda: torch.jit.script(swapped))
    torch.testing.assert_close(script(inputs), expected)
    torch.testing.assert_close(swapped(inputs), expected, msg="torch puts what it scripts into the model")


@pytest.mark.parametrize("layer", [norms.PositionsAsSamples(norms.GroupNorm(1, 4)), norms.FrozenNorm(tracking())])
def test_a_layer_around_a_norm_is_not_scripted_as_the_norm(layer: nn.Module) -> None:
    assert not hasattr(layer, "__prepare_scriptable__")
