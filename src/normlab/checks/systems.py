"""Checks of how a norm gets along with torch: modes, state, copies, memory layout, vmap, compilation."""

from __future__ import annotations

import contextlib
import copy
import io
import shutil
import warnings
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from normlab.checks.spec import Observation
from normlab.checks.subject import SAME, Subject, answers, difference, run, seeded, told

COMPILED = 1e-4  # float32 outputs and gradients of fused kernels
REPLICAS = 3

Prepare = Callable[[nn.Module], Callable[[Tensor], Tensor]]


def modes(subject: Subject) -> Observation:
    """Without state training and evaluation are the same; with state only training moves it."""
    model, inputs = subject.trained(), subject.inputs()
    with torch.no_grad():
        if not list(model.buffers()):
            training = run(model, inputs)
            gap = difference(run(model.eval(), inputs), training)
            text = "without state, training and evaluation differ by {figure:.1e}"
            if subject.draws:
                return Observation("not applicable", "without state, but it draws random numbers")
            return Observation("holds" if gap <= SAME else "does not hold", text, gap)
        start, before = _held(subject.model()), _held(model)
        first = run(model.eval(), inputs)
        if not torch.equal(run(model, inputs), first) or _moved(before, _held(model)):
            return Observation("does not hold", "evaluation changes what it keeps")
    moved = _moved(start, before)
    if not moved:
        return Observation("does not hold", f"it keeps {', '.join(start)}, but training moves none of it")
    return Observation("holds", f"training moves {', '.join(moved)}; evaluation moves nothing")


def _held(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def _moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    return [name for name in before if not torch.equal(before[name], after[name])]


def state_dict(subject: Subject) -> Observation:
    """Saved and loaded into a fresh layer, it goes on the same."""
    model, fresh, inputs = subject.trained(seed=1), subject.model(seed=2), subject.inputs()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    try:
        fresh.load_state_dict(torch.load(file, weights_only=True))
    except Exception as error:
        return Observation("does not hold", f"a fresh layer does not take the saved state: {told(error)}")
    return _same_after(model, fresh, inputs, "what was saved and what was loaded")


def copies(subject: Subject) -> Observation:
    """A deep copy goes on the same, and training it leaves the original alone."""
    model, inputs = subject.trained(seed=1), subject.inputs()
    try:
        other = copy.deepcopy(model)
    except Exception as error:
        return Observation("does not hold", f"it cannot be copied: {told(error)}")
    with torch.no_grad():
        before = run(model.eval(), inputs)
        run(other.train(), subject.inputs(9))
        for parameter in other.parameters():
            parameter.add_(1)
        if difference(run(model, inputs), before) > 0:
            return Observation("does not hold", "training the copy changes the original")
    return _same_after(subject.trained(seed=1), copy.deepcopy(subject.trained(seed=1)), inputs, "original and copy")


def _same_after(first: nn.Module, second: nn.Module, inputs: Tensor, what: str) -> Observation:
    """Both layers in evaluation, in training, and in evaluation again."""
    with torch.no_grad():
        for mode in (False, True, False):
            gap = difference(run(second.train(mode), inputs), run(first.train(mode), inputs))
            if gap > 0:
                name = "training" if mode else "evaluation"
                return Observation(
                    "does not hold", f"{what} differ in {name} by {{figure:.1e}} of the largest output", gap
                )
    return Observation("holds", f"{what} agree bit by bit, before and after a training step")


def memory(subject: Subject) -> Observation:
    """Input that is not contiguous gives the same output and gradients; channels_last input channels_last output."""
    inputs = subject.inputs()
    swapped = inputs.transpose(0, 1).contiguous().transpose(0, 1)
    formats = {"NCHW": torch.channels_last, "NCDHW": torch.channels_last_3d}
    last = formats.get(subject.layout)
    reordered = {"strides not in order": swapped}
    if last is not None:
        reordered["channels_last"] = inputs.contiguous(memory_format=last)
    plain = answers(subject.model(), inputs)
    for name, tensor in reordered.items():
        ours = answers(subject.model(), tensor)
        for what, expected in plain.items():
            if (gap := difference(ours[what], expected)) > SAME:
                return Observation("does not hold", f"{name}: {what} is off by {{figure:.1e}}", gap)
    judged = last is not None and subject.norm.spec.wrap is None  # else it is the convolution's order
    if last is not None and judged and not ours["the output"].is_contiguous(memory_format=last):
        text = "the values are right, but channels_last input gives an output in another order"
        return Observation("not claimed", text)
    text = "strides in any order give the same values and gradients"
    return Observation("holds", text + (", channels_last stays so" if judged else ""))


def replicas(subject: Subject) -> Observation:
    """torch.func.vmap over replicas gives what each gives by itself."""
    models = [subject.trained(seed=seed) for seed in range(REPLICAS)]
    inputs = torch.stack([subject.inputs(20 + seed) for seed in range(REPLICAS)])
    parameters, buffers = stack_module_state([copy.deepcopy(model) for model in models])
    parameters = {name: value.detach() for name, value in parameters.items()}
    base = copy.deepcopy(models[0])

    def forward(learned: dict[str, Tensor], state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        result: Tensor = functional_call(base, (learned, state), (inputs.clone(),))
        return result

    try:
        with seeded(7), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, where it has no batching rule and loops
            together = vmap(forward, randomness="different")(parameters, buffers, inputs)
    except Exception as error:
        return Observation("not claimed", f"it cannot run under vmap: {told(error)}")
    with torch.no_grad():
        alone = torch.stack([run(model, each) for model, each in zip(models, inputs, strict=True)])
    gap = difference(together, alone)
    for name, buffer in stack_module_state(models)[1].items():
        gap = max(gap, difference(buffers[name], buffer))
    text = f"{REPLICAS} replicas together and one by one differ by at most {{figure:.1e}}"
    return Observation("holds" if gap <= SAME else "does not hold", text, gap)


def compiled(subject: Subject) -> Observation:
    """torch.compile makes one graph of it, which gives the same output and gradients in float32."""
    backend = "inductor" if shutil.which("g++") or shutil.which("clang++") else "aot_eager"
    torch.compiler.reset()
    cases = _cases(subject)
    gap, left, name = 0.0, "", ""
    try:
        gap, name = _largest_gap(subject, cases, partial(torch.compile, backend=backend, fullgraph=True))
    except Exception as error:
        left = told(error).partition(" Explanation:")[0]
        try:
            gap, name = _largest_gap(subject, cases, partial(torch.compile, backend=backend))
        except Exception as error:
            return Observation("not claimed", f"it cannot be compiled ({backend}): {told(error)}")
    if gap > COMPILED:
        return Observation("does not hold", f"{name}: compiled ({backend}) and eager differ by {{figure:.1e}}", gap)
    if left:
        text = f"it cannot be compiled as a whole, so that Python runs it or a part of it ({left})"
        return Observation("not claimed", text)
    text = f"compiled ({backend}) and eager differ by at most {{figure:.1e}}, gradients included"
    return Observation("holds", text, gap)


def _cases(subject: Subject) -> dict[str, Tensor]:
    """Inputs, and what follows them at once: constants, on which sums of squares cancel, and another batch size."""
    ordinary = subject.inputs(4, torch.float32)
    further = {"constants": torch.full_like(ordinary, 3.0), "zeros": torch.zeros_like(ordinary)}
    further["a larger batch"] = torch.cat([ordinary, subject.inputs(5, torch.float32)[:-1]])
    cases = {"ordinary input": ordinary}
    for name, inputs in further.items():
        with contextlib.suppress(RuntimeError, ValueError):  # what the norm refuses is not compared
            answers(subject.model(torch.float32), inputs)
            cases[name] = inputs
    return cases


def _largest_gap(subject: Subject, cases: Mapping[str, Tensor], prepare: Prepare) -> tuple[float, str]:
    """The largest difference between the layer and its compiled form over some inputs in turn, and the input.

    It is a share of the largest value over all inputs: on constants there is next to nothing to compare with.
    """
    eager, other = subject.model(torch.float32), subject.model(torch.float32)
    pairs: dict[str, list[tuple[str, Tensor, Tensor]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own make
        call = prepare(other)
        for name, inputs in cases.items():
            right, result = answers(eager, inputs), answers(other, inputs, call)
            for what in right:
                pairs.setdefault(what, []).append((name, result[what].detach(), right[what].detach()))
    gaps: dict[str, float] = dict.fromkeys(cases, 0.0)
    for compared in pairs.values():
        sizes = [float(expected.nan_to_num(0, 0, 0).abs().max()) for _, _, expected in compared]
        for (name, answer, reference), size in zip(compared, sizes, strict=True):
            gaps[name] = max(gaps[name], difference(answer, reference) * max(size, 1e-12) / max(*sizes, 1e-12))
    name = max(gaps, key=lambda name: gaps[name])
    return gaps[name], name
