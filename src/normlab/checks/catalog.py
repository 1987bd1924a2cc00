"""All checks, in the order in which they are shown."""

from __future__ import annotations

from normlab.checks import entry, forward, numerics, statistics, systems
from normlab.checks.spec import Check, Needs

_NONE: Needs = "no random numbers"

CHECKS: tuple[Check, ...] = (
    Check("input", "the input is left as it was", forward.untouched, needs="nothing"),
    Check("same output", "the same input gives the same output", forward.repetition, needs="nothing"),
    Check("axes", "changing one element changes exactly the outputs that share its statistic", statistics.axes),
    Check("batch", "it depends on the other samples of the batch as it says, and only then", statistics.batch),
    Check("evaluation", "in evaluation mode each sample is treated by itself", statistics.evaluation),
    Check("invariances", "the changes of scale and shift that it claims not to feel", statistics.invariances),
    Check("entry", "what is learned and what is kept is what it says", entry.entry, needs="nothing"),
    Check("modes", "training and evaluation differ only by state", systems.modes),
    Check("gradient", "derivatives equal finite differences in float64", numerics.gradient),
    Check(
        "degenerate input",
        "zeros, constants, one element, empty axes: never silent NaN",
        numerics.degenerate,
        needs="nothing",
    ),
    Check("offset", "float32 at mean 1e4 and spread 1", numerics.offset, needs=_NONE),
    Check("narrow types", "bfloat16, float16 and autocast", numerics.dtypes, needs=_NONE),
    Check(
        "memory layout",
        "strides in any order, gradients too; channels_last stays so",
        systems.memory,
        needs=_NONE,
        exception="channels_last",
    ),
    Check("state dict", "saved and loaded it goes on the same", systems.state_dict),
    Check("deep copy", "a copy goes on the same and leaves the original alone", systems.copies),
    Check(
        "vmap",
        "torch.func.vmap over replicas gives what each gives",
        systems.replicas,
        needs=_NONE,
        exception="vmap",
    ),
    Check(
        "compile",
        "torch.compile gives the same output and gradient, on constants too",
        systems.compiled,
        slow=True,
        needs=_NONE,
    ),
)
