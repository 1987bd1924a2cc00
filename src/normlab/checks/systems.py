"""Checks of how a norm gets along with torch: modes, state, copies, memory layout, vmap, compilation."""

from __future__ import annotations

import copy
import io
import shutil
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from normlab.checks.spec import Finding
from normlab.checks.subject import SAME, Subject, difference, run, seeded, told

COMPILED = 1e-4  # float32 outputs and gradients of fused kernels
REPLICAS = 3

Prepare = Callable[[nn.Module], Callable[[Tensor], Tensor]]


def modes(subject: Subject) -> Finding:
    """Without state training and evaluation are the same; with state only training moves it."""
    model, inputs = subject.trained(), subject.inputs()
    with torch.no_grad():
        if not list(model.buffers()):
            training = run(model, inputs)
            gap = difference(run(model.eval(), inputs), training)
            text = "without state, training and evaluation differ by {figure:.1e}"
            if subject.draws:
                return Finding("not applicable", "without state, but it draws random numbers")
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
        return Finding("does not hold", f"a fresh layer does not take the saved state: {told(error)}")
    return _same_after(model, fresh, inputs, "what was saved and what was loaded")


def copies(subject: Subject) -> Finding:
    """A deep copy goes on the same, and training it leaves the original alone."""
    model, inputs = subject.trained(seed=1), subject.inputs()
    try:
        other = copy.deepcopy(model)
    except Exception as error:
        return Finding("does not hold", f"it cannot be copied: {told(error)}")
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
        result: Tensor = functional_call(base, (own, kept), (one.clone(),))
        return result

    try:
        with seeded(7), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, where it has no batching rule and loops
            together = vmap(forward, randomness="different")(parameters, buffers, inputs)
    except Exception as error:
        return Finding("not claimed", f"it cannot run under vmap: {told(error)}")
    with torch.no_grad():
        alone = torch.stack([run(model, one) for model, one in zip(models, inputs, strict=True)])
    gap = difference(together, alone)
    for name, kept in stack_module_state(models)[1].items():
        gap = max(gap, difference(buffers[name], kept))
    text = f"{REPLICAS} replicas together and one by one differ by at most {{figure:.1e}}"
    return Finding("holds" if gap <= SAME else "does not hold", text, gap)


def compiled(subject: Subject) -> Finding:
    """torch.compile makes one graph of it, which gives the same output and gradients in float32."""
    backend = "inductor" if shutil.which("g++") or shutil.which("clang++") else "aot_eager"
    torch.compiler.reset()
    eager = _answers(subject.model(torch.float32), subject)
    left = ""
    try:
        answers = _answers(
            subject.model(torch.float32), subject, partial(torch.compile, backend=backend, fullgraph=True)
        )
    except Exception as error:
        left = told(error).partition(" Explanation:")[0]
        try:
            answers = _answers(subject.model(torch.float32), subject, partial(torch.compile, backend=backend))
        except Exception as error:
            return Finding("not claimed", f"it cannot be compiled ({backend}): {told(error)}")
    gap = max(difference(one, other) for one, other in zip(eager, answers, strict=True))
    if gap > COMPILED:
        return Finding("does not hold", f"compiled ({backend}) and eager differ by {{figure:.1e}}", gap)
    if left:
        text = f"it cannot be compiled as a whole, so that Python runs it or a part of it ({left})"
        return Finding("not claimed", text)
    text = f"compiled ({backend}) and eager differ by at most {{figure:.1e}}, gradients included"
    return Finding("holds", text, gap)


def _answers(model: nn.Module, subject: Subject, prepare: Prepare = lambda model: model) -> list[Tensor]:
    """The output and the gradients of input and parameters; zeros where autograd gives none."""
    leaves = [subject.inputs(4, torch.float32).requires_grad_(), *model.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own make
        output = run(prepare(model), leaves[0])
        if output.requires_grad:
            (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()  # type: ignore[no-untyped-call]
    return [output, *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves)]
