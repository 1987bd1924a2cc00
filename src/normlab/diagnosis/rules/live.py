"""What only a training shows: the rules of `normlab.watch`, which a model at rest never breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normlab.diagnosis.spec import Evidence, Rule

if TYPE_CHECKING:
    from normlab.diagnosis.case import Case


def _while_training(case: Case) -> tuple[Evidence, ...]:
    """Nothing: these are seen by `normlab.watch` alone."""
    return ()


RULES = (
    Rule(
        code="NL501",
        name="noisy-batches",
        severity="warning",
        title="batches so small that training mode computes something else than evaluation mode",
        why=(
            "Training mode normalizes by the batch, evaluation mode by the mean of many. The statistics of n values are"
            " off by about sqrt(1.5 / n) of the output: the layers behind never see what they will see in evaluation."
        ),
        source="Wu and He 2018, arXiv:1803.08494; Ioffe 2017, arXiv:1702.03275",
        mend=(
            "Train with larger batches (normlab.to_sync over several GPUs), or take a norm that does not depend on the"
            " batch: normlab.swap(model, 'group')."
        ),
        example="for x, y in DataLoader(data, batch_size=2): step(model, x, y)  # nn.BatchNorm1d inside",
        check=_while_training,
    ),
    Rule(
        code="NL502",
        name="dead-norm",
        severity="warning",
        title="a norm that gives a constant",
        why=(
            "With gamma near zero in every channel, or an input that does not vary, nothing of the input comes through:"
            " all layers before it on this path get no gradient. A gamma that starts at zero on a residual branch is"
            " no fault as long as it grows."
        ),
        source="Mehta, Kim, Theobalt 2019, 'On implicit filter level sparsity in CNNs', arXiv:1811.12495",
        mend="Leave gamma and beta out of weight decay, or take the layer's branch out.",
        example="nn.init.zeros_(norm.weight); norm.weight.requires_grad_(False)",
        check=_while_training,
    ),
    Rule(
        code="NL503",
        name="extra-training-pass",
        severity="warning",
        title="forward passes in training mode without gradients",
        why=(
            "Each updates running statistics. Where it is the validation, the statistics learn from validation data,"
            " and its loss is that of training mode."
        ),
        source="https://github.com/pytorch/pytorch/issues/5406",
        mend="Call model.eval() before the pass and model.train() after it.",
        example="with torch.no_grad(): loss = criterion(model(validation), targets)  # still in training mode",
        check=_while_training,
    ),
    Rule(
        code="NL504",
        name="skipped-step",
        severity="note",
        title="running statistics updated in a step that was skipped",
        why=(
            "Mixed precision skips the optimizer's step where gradients overflow, but the forward pass has updated the"
            " running statistics before. Where its activations overflowed too, they stay infinite or NaN for good."
        ),
        source="https://github.com/pytorch/pytorch/issues/90342",
        mend=(
            "A few in the beginning are the search for a loss scale. If they go on, train in bfloat16, and re-estimate"
            " the statistics with normlab.recalibrate."
        ),
        example="scaler.step(optimizer)  # skips where gradients are infinite",
        check=_while_training,
    ),
    Rule(
        code="NL505",
        name="passes-per-step",
        severity="warning",
        title="more or fewer forward passes in training mode than the steps ask for",
        why=(
            "Running statistics are updated by each forward pass, not by each step: with further passes a step the"
            " momentum counts several times, and batches of another kind mix with the training data."
        ),
        source="https://github.com/pytorch/pytorch/issues/46516",
        mend="Tell normlab.watch grad_accumulation=k if that is the reason; else make the further passes in eval mode.",
        example="loss = criterion(model(x), y) + penalty(model(x + noise))  # two passes a step",
        check=_while_training,
    ),
)
