"""What is heard of a training loop through hooks: passes of the model, backward passes, steps of the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from normlab.recognition.state import local
from normlab.watching.read import in_backward, unwatchable

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

_SMALL = 16  # vectors among the parameters, from the first to the last, whose gradients tell of all others
Pass = Literal["training", "blind", "evaluation"]


class Hook:
    """A function for a hook, which copies and pickles of the hooked module do not take along."""

    def __init__(self, act: Callable[..., None] | None = None) -> None:
        self._act = act

    def __call__(self, *arguments: Any) -> None:
        if self._act is not None:
            self._act(*arguments)

    def __deepcopy__(self, memo: Any) -> Hook:
        return Hook()

    def __reduce__(self) -> tuple[type[Hook], tuple[()]]:
        return Hook, ()


@dataclass
class Counts:
    """How often what happened.

    Arguments:
        steps: the optimizer made a step.
        skipped: gradients were there and not finite, and the optimizer made no step.
        passes: the model was called in training mode, recomputation left out.
        blind: the model was called in training mode without gradients.
    """

    steps: int = 0
    skipped: int = 0
    passes: int = 0
    blind: int = 0

    def since(self, other: Counts) -> Counts:
        """What happened since then."""
        return Counts(
            self.steps - other.steps,
            self.skipped - other.skipped,
            self.passes - other.passes,
            self.blind - other.blind,
        )

    def copy(self) -> Counts:
        """The same, which stays as it is."""
        return replace(self)


class Signals:
    """Hooks on a model and its optimizer that count.

    Arguments:
        model: the model.
        optimizer: its optimizer; without one, somebody calls `step`.
        grad_accumulation: backward passes before a step.
        on_step: called after each step.
        guard: what a hook's function is wrapped with, for all that could go wrong in it.

    Attributes:
        counts: what happened so far.
        mode: what kind of pass the last one of the model was; None before the first.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        grad_accumulation: int,
        on_step: Callable[[], None],
        guard: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self.counts = Counts()
        self.mode: Pass | None = None
        self._backwards, self._grad_accumulation = 0, grad_accumulation
        self._gradient: Tensor | None = None
        self._infinite: list[Tensor] = []
        self._model, self._optimizer = model, optimizer
        self._on_step, self._guard = on_step, guard
        self._small: list[nn.Parameter] = []
        self._handles: list[Any] = []

    def begin(self, gammas: Iterable[Tensor | None]) -> None:
        """Puts the hooks on.

        Arguments:
            gammas: parameters in the order of the model; the gradient of the first one that is learned comes late.
        """
        learned = self._learned()
        identities = {id(parameter) for parameter in learned}
        late = next((gamma for gamma in gammas if gamma is not None and id(gamma) in identities), None)
        small = [parameter for parameter in learned if parameter.dim() < 2]
        self._small = small[:: max(1, len(small) // _SMALL)] + small[-1:]
        self._handles.append(self._model.register_forward_pre_hook(Hook(self._guard(self._pass_begins))))
        if late is not None:
            act = Hook(self._guard(self._backward_ended))
            self._handles.append(late.register_post_accumulate_grad_hook(act))  # type: ignore[no-untyped-call]
        if self._optimizer is not None:
            self._handles.append(self._optimizer.register_step_post_hook(Hook(self._guard(self._optimizer_stepped))))

    def _learned(self) -> list[nn.Parameter]:
        """The parameters of the model that are learned, in its order."""
        parameters = [one for one in self._model.parameters() if one.requires_grad]
        if self._optimizer is None:
            return parameters
        held = {id(one) for group in self._optimizer.param_groups for one in group["params"]}
        return [one for one in parameters if id(one) in held]

    def remove(self) -> None:
        """Removes all hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def step(self, skipped: bool = False) -> None:
        """Counts a step."""
        self._backwards = 0
        if skipped:
            self.counts.skipped += 1
            return
        self.counts.steps += 1
        self._on_step()

    def settle(self) -> None:
        """Counts the steps that were skipped so far."""
        gradient = self._gradient if self._backwards >= self._grad_accumulation else None
        if gradient is not None and not gradient.isfinite().all():
            self.counts.skipped += 1
            self._backwards = 0
        inside = sum(int(tensor.item() > 0) for tensor in self._infinite)
        self.counts.skipped += inside
        self.counts.steps -= inside
        self._infinite = []

    def _pass_begins(self, module: nn.Module, arguments: Any) -> None:
        if unwatchable() or in_backward():
            return
        if not module.training:
            self.mode = "evaluation"
        elif not _gradients_enabled():
            self.mode = "blind"
            self.counts.blind += 1
        else:
            self.mode = "training"
            if self._backwards >= self._grad_accumulation:
                self.settle()
            self.counts.passes += 1

    def _backward_ended(self, parameter: Tensor) -> None:
        import torch

        if parameter.grad is None or unwatchable(parameter.grad):
            return
        self._backwards += 1
        gradients = [local(one.grad.detach()) for one in self._small if one.grad is not None]
        self._gradient = torch.stack([one.to(parameter.device) for one in torch._foreach_norm(gradients)]).sum()

    def _optimizer_stepped(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        if unwatchable():
            return
        infinite = getattr(optimizer, "found_inf", None)  # set by GradScaler where the step itself decides to skip
        if infinite is not None:
            self._infinite.append(infinite.detach().clone())
        self.step()


def _gradients_enabled() -> bool:
    import torch

    return torch.is_grad_enabled()
