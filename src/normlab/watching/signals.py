"""What is heard of a training loop through hooks: passes of the model, backward passes, steps of the optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
        parts: the model was called in training mode, recomputation left out: how often, by the name of the outermost
            part that was, which is empty for the model itself.
        blind_parts: the same of calls without gradients.
    """

    steps: int = 0
    skipped: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    blind_parts: Counter[str] = field(default_factory=Counter)

    @property
    def passes(self) -> int:
        """The calls with gradients of all parts."""
        return self.parts.total()

    @property
    def blind(self) -> int:
        """The calls without gradients of all parts."""
        return self.blind_parts.total()

    def within(self, names: Sequence[str]) -> Counts:
        """What happened as far as it is of a layer: the calls of the parts that it is in.

        Arguments:
            names: of the layer.
        """
        parts, blind = (
            Counter({part: count for part, count in calls.items() if holds(part, names)})
            for calls in (self.parts, self.blind_parts)
        )
        return Counts(self.steps, self.skipped, parts, blind)

    def since(self, other: Counts) -> Counts:
        """What happened since then."""
        parts, blind = self.parts - other.parts, self.blind_parts - other.blind_parts
        return Counts(self.steps - other.steps, self.skipped - other.skipped, parts, blind)

    def copy(self) -> Counts:
        """The same, which stays as it is."""
        return Counts(self.steps, self.skipped, self.parts.copy(), self.blind_parts.copy())

    def as_dict(self) -> dict[str, int]:
        """The numbers of the whole model."""
        return {"steps": self.steps, "skipped": self.skipped, "passes": self.passes, "blind": self.blind}


def holds(part: str, names: Iterable[str]) -> bool:
    """Whether a layer of these names is a part of that name, or in it.

    >>> holds("", ["net.bn"]), holds("net", ["net.bn"]), holds("net.b", ["net.bn"])
    (True, True, False)
    """
    return not part or any(name == part or name.startswith(f"{part}.") for name in names)


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
        mode: what kind of pass the last one was; None before the first.

    A pass is a call of the model, or of a part of it where the call comes from outside of the model's `forward`: a
    training step that calls ``self.net``, or a container that is never called itself. So parts are listened to until
    they are called within a larger one.
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
        self._of_parts: dict[str, list[Any]] = {}
        self._blind: Counter[str] = Counter()  # passes without gradients since the last step, by part
        self._seeing: Counter[str] = Counter()  # those with them
        self._inside: set[str] = set()  # parts that were called within the pass
        self._open: list[str] = []  # parts whose call has not ended, the outermost first

    def begin(self, parts: Mapping[str, nn.Module], gammas: Iterable[Tensor | None]) -> None:
        """Puts the hooks on.

        Arguments:
            parts: the model and the parts whose calls may be passes, by name.
            gammas: parameters in the order of the model; the gradient of the first one that is learned comes late.
        """
        learned = self._learned()
        identities = {id(parameter) for parameter in learned}
        late = next((gamma for gamma in gammas if gamma is not None and id(gamma) in identities), None)
        small = [parameter for parameter in learned if parameter.dim() < 2]
        self._small = small[:: max(1, len(small) // _SMALL)] + small[-1:]
        for name, part in parts.items():
            enter, leave = (Hook(self._guard(partial(act, name))) for act in (self._entered, self._left))
            self._of_parts[name] = [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
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
        for handle in (*self._handles, *(one for some in self._of_parts.values() for one in some)):
            handle.remove()
        self._handles, self._of_parts = [], {}

    def step(self, skipped: bool = False) -> None:
        """Counts a step."""
        self._backwards = 0
        self._open.clear()  # of calls that an error ended
        self._blind.clear()
        self._seeing.clear()
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

    def _entered(self, name: str, module: nn.Module, arguments: Any) -> None:
        if unwatchable():
            return
        if in_backward():
            self._recomputed(name)
            return
        if name in self._open[:1]:  # an error ended its last call
            self._open.clear()
        self._open.append(name)
        if len(self._open) == 1:
            self._pass_begins(name, module)
        elif self.mode == "training" and name not in self._open[:-1]:
            self._inside.add(name)

    def _recomputed(self, name: str) -> None:
        """Counts a pass without gradients that the backward pass makes again with them: it was one of checkpointing."""
        if self._blind[name] and not self._seeing[name]:
            self._blind[name] -= 1
            self.counts.blind_parts[name] -= 1
            self.counts.parts[name] += 1

    def _left(self, name: str, module: nn.Module, arguments: Any, output: Any) -> None:
        if unwatchable() or in_backward() or name not in self._open:
            return
        while self._open.pop() != name:
            pass
        if not self._open:
            for inner in self._inside:
                for handle in self._of_parts.pop(inner, ()):
                    handle.remove()
            self._inside.clear()

    def _pass_begins(self, name: str, module: nn.Module) -> None:
        self._inside.clear()
        if not module.training:
            self.mode = "evaluation"
        elif not _gradients_enabled():
            self.mode = "blind"
            self.counts.blind_parts[name] += 1
            self._blind[name] += 1
        else:
            self.mode = "training"
            if self._backwards >= self._grad_accumulation:
                self.settle()
            self.counts.parts[name] += 1
            self._seeing[name] += 1

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
