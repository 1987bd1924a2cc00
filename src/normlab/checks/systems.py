"""Checks of how a norm gets along with torch: modes, state, copies, memory layout, vmap, compilation."""

from __future__ import annotations

import copy
import io
import shutil
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from normlab.checks.spec import Finding
from normlab.checks.subject import Subject, difference, first_line, run, seeded

SAME = 1e-9  # float64 outputs that are the same but for the order of additions
COMPILED = 1e-4  # float32 outputs and gradients of fused kernels
REPLICAS = 3


def entry(subject: Subject) -> Finding:
    """There are parameters where the entry says that something is learned, and buffers where it speaks of state."""
    spec, layer = subject.norm.spec, subject.model() if subject.claimed else subject.layer()
    held = {
        "parameters": [name for name, _ in (layer if spec.wrap is None else layer[1]).named_parameters()],  # type: ignore[index]
        "buffers": [name for name, _ in layer.named_buffers()],
    }
    found = "; ".join(f"{what}: {', '.join(names) or 'none'}" for what, names in held.items())
    if not subject.claimed:
        return Finding("not claimed", found)
    usual = all(subject.norm.options[option.name] == option.default for option in spec.options)
    judged = spec.wrap is None and usual  # the words are those of the default options
    if judged and held["parameters"] and spec.affine == "none":
        return Finding("does not hold", f"it says that nothing is learned; {found}")
    if judged and not held["parameters"] and not spec.affine.startswith("none"):
        return Finding("does not hold", f"it says that {spec.affine} is learned; {found}")
    if bool(held["buffers"]) == (spec.state == "none"):
        return Finding("does not hold", f"it says of its state: {spec.state}; {found}")
    return Finding("holds", found)


def modes(subject: Subject) -> Finding:
    """Without state training and evaluation are the same; with state only training moves it."""
    model, inputs = subject.trained(), subject.inputs()
    with torch.no_grad():
        if not list(model.buffers()):
            training = run(model, inputs)
            gap = difference(run(model.eval(), inputs), training)
            text = "without state, training and evaluation differ by {figure:.1e}"
            if not subject.claimed:
                return Finding("not claimed", text, gap)
            return Finding("holds" if gap <= SAME else "does not hold", text, gap)
        start, before = _held(subject.model()), _held(model)
        first = run(model.eval(), inputs)
        if not torch.equal(run(model, inputs), first) or _moved(before, _held(model)):
            return Finding("does not hold", "evaluation changes what it keeps")
    moved = _moved(start, before)
    if not moved:
        return Finding("does not hold", f"it keeps {', '.join(start)}, but training moves none of it")
    return Finding("holds", f"training moves {', '.join(moved)}; evaluation moves nothing")


def _held(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def _moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    return [name for name in before if not torch.equal(before[name], after[name])]


def state_dict(subject: Subject) -> Finding:
    """Saved and loaded into a fresh layer, it goes on the same."""
    model, fresh, inputs = subject.trained(seed=1), subject.model(seed=2), subject.inputs()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    try:
        fresh.load_state_dict(torch.load(file, weights_only=True))
    except Exception as error:
        return Finding("does not hold", f"a fresh layer does not take the saved state: {first_line(error)}")
    return _same_after(model, fresh, inputs, "what was saved and what was loaded")


def copies(subject: Subject) -> Finding:
    """A deep copy goes on the same, and training it leaves the original alone."""
    model, inputs = subject.trained(seed=1), subject.inputs()
    try:
        other = copy.deepcopy(model)
    except Exception as error:
        return Finding("does not hold", f"it cannot be copied: {first_line(error)}")
    with torch.no_grad():
        before = run(model.eval(), inputs)
        run(other.train(), subject.inputs(9))
        for parameter in other.parameters():
            parameter.add_(1)
        if difference(run(model, inputs), before) > 0:
            return Finding("does not hold", "training the copy changes the original")
    return _same_after(subject.trained(seed=1), copy.deepcopy(subject.trained(seed=1)), inputs, "original and copy")


def _same_after(one: nn.Module, other: nn.Module, inputs: Tensor, what: str) -> Finding:
    """Both layers in evaluation, in training, and in evaluation again."""
    with torch.no_grad():
        for mode in (False, True, False):
            gap = difference(run(other.train(mode), inputs), run(one.train(mode), inputs))
            if gap > 0:
                name = "training" if mode else "evaluation"
                return Finding("does not hold", f"{what} differ in {name} by {{figure:.1e}} of the largest output", gap)
    return Finding("holds", f"{what} agree bit by bit, before and after a training step")


def memory(subject: Subject) -> Finding:
    """Input that is not contiguous gives the same; channels_last input gives channels_last output."""
    inputs = subject.inputs()
    swapped = inputs.transpose(0, 1).contiguous().transpose(0, 1)
    kinds = {"NCHW": torch.channels_last, "NCDHW": torch.channels_last_3d}
    kind = kinds.get(subject.layout)
    given = {"strides not in order": swapped}
    if kind is not None:
        given["channels_last"] = inputs.contiguous(memory_format=kind)
    with torch.no_grad():
        plain = run(subject.model(), inputs)
        for name, tensor in given.items():
            output = run(subject.model(), tensor)
            gap = difference(output, plain)
            if gap > SAME:
                return Finding("does not hold", f"{name}: the output is off by {{figure:.1e}}", gap)
    if kind is not None and subject.norm.spec.wrap is None and not output.is_contiguous(memory_format=kind):
        return Finding("not claimed", "the values are right, but channels_last input gives an output in another order")
    kept = kind is not None and subject.norm.spec.wrap is None  # else it is the convolution's order
    return Finding("holds", "strides in any order give the same values" + (", channels_last stays so" if kept else ""))


def replicas(subject: Subject) -> Finding:
    """torch.func.vmap over replicas gives what each gives by itself."""
    models = [subject.trained(seed=seed) for seed in range(REPLICAS)]
    inputs = torch.stack([subject.inputs(20 + seed) for seed in range(REPLICAS)])
    parameters, buffers = stack_module_state([copy.deepcopy(model) for model in models])
    parameters = {name: value.detach() for name, value in parameters.items()}
    base = copy.deepcopy(models[0])

    def forward(own: dict[str, Tensor], kept: dict[str, Tensor], one: Tensor) -> Tensor:
        result: Tensor = functional_call(base, (own, kept), (one,))
        return result

    try:
        with seeded(7), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, where it has no batching rule and loops
            together = vmap(forward, randomness="different")(parameters, buffers, inputs)
    except Exception as error:
        return Finding("not claimed", f"it cannot run under vmap: {first_line(error)}")
    with torch.no_grad():
        alone = torch.stack([run(model, one) for model, one in zip(models, inputs, strict=True)])
    gap = difference(together, alone)
    for name, kept in stack_module_state(models)[1].items():
        gap = max(gap, difference(buffers[name], kept))
    text = f"{REPLICAS} replicas together and one by one differ by at most {{figure:.1e}}"
    return Finding("holds" if gap <= SAME else "does not hold", text, gap)


Prepare = Callable[[nn.Module], Callable[[Tensor], Tensor]]


def compiled(subject: Subject) -> Finding:
    """torch.compile gives the same output and gradient in float32."""
    backend = "inductor" if shutil.which("g++") or shutil.which("clang++") else "aot_eager"
    torch.compiler.reset()
    results = []
    ways: tuple[Prepare, ...] = (lambda model: model, lambda model: torch.compile(model, backend=backend))
    for prepare in ways:
        model = subject.model(torch.float32)
        leaf = subject.inputs(4, torch.float32).requires_grad_()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler's own make
                output = run(prepare(model), leaf)
                (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()  # type: ignore[no-untyped-call]
        except Exception as error:
            return Finding("not claimed", f"it cannot be compiled ({backend}): {first_line(error)}")
        assert leaf.grad is not None
        results.append((output, leaf.grad))
    gap = max(difference(one, other) for one, other in zip(*results, strict=True))
    text = f"compiled ({backend}) and eager differ by at most {{figure:.1e}}, gradients included"
    return Finding("holds" if gap <= COMPILED else "does not hold", text, gap)
