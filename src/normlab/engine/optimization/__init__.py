"""From the gradients of batches to updated parameters: the same small pieces for every engine on PyTorch."""

from normlab.engine.optimization.accumulation import Accumulation
from normlab.engine.optimization.clipping import clip
from normlab.engine.optimization.kinds import ParameterKinds, freeze, parameter_kinds
from normlab.engine.optimization.optimizers import optimizer_obstacle
from normlab.engine.optimization.schedules import factor
from normlab.engine.optimization.training_loss import training_loss
from normlab.engine.optimization.update import Optimization

__all__ = [
    "Accumulation",
    "Optimization",
    "ParameterKinds",
    "clip",
    "factor",
    "freeze",
    "optimizer_obstacle",
    "parameter_kinds",
    "training_loss",
]
