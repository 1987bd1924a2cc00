"""Rules on which samples come together in a batch: NL204, NL205."""

from __future__ import annotations

from collections.abc import Iterator

from normlab.diagnosis.case import Case
from normlab.diagnosis.loading import batch_sizes, epoch_of, is_used_up, labels_of
from normlab.diagnosis.measuring import batch_norms
from normlab.diagnosis.spec import CannotTell, Evidence, Rule

AGAIN = "a `loader` that can be gone through again: a function that makes a generator in place of the generator"
BATCHES, VARIES, FEWER = 8, 2.0, 0.5  # batches that are looked at; sizes and kinds of labels that differ by as much


def varying(case: Case) -> Iterator[Evidence]:
    """Batches of many sizes, each of which moves the running statistics as far."""
    norms = list(batch_norms(case))
    if norms and is_used_up(case.loader):
        raise CannotTell(AGAIN)
    sizes = batch_sizes(case.loader) if norms else None
    if not sizes or max(sizes) < VARIES * min(sizes):
        return
    least, most, count = min(sizes), max(sizes), sum(sizes.values())
    text = (
        f"the first {count} batches have from {least} to {most} samples, and each moves the running statistics of "
        f"{len(norms)} norms by the same share: a sample of the smallest counts {most / least:.3g} times as much"
    )
    yield Evidence("", text, figures={"least": least, "most": most, "norms": len(norms)})


def sorted_order(case: Case) -> Iterator[Evidence]:
    """A loader that goes through data in their order, which is that of their classes."""
    norms = list(batch_norms(case))
    if norms and is_used_up(case.loader):
        raise CannotTell(AGAIN)
    epoch = epoch_of(case.loader)
    labels = labels_of(case.loader, BATCHES) if norms and epoch.shuffles is False else []
    if len(labels) < 2:
        return
    every = len({label for batch in labels for label in batch})
    inside = sum(len(set(batch)) for batch in labels) / len(labels)
    possible = min(every, min(len(batch) for batch in labels))
    if every > 1 and possible > 1 and inside <= max(1.0, FEWER * possible):
        text = (
            f"the loader does not shuffle, and the data are in the order of their classes: of {every} classes a batch "
            f"holds {inside:.1f} on average, so {len(norms)} norms see statistics of a class in place of the data"
        )
        yield Evidence("", text, figures={"classes": every, "in_a_batch": inside, "norms": len(norms)})


RULES = (
    Rule(
        "NL204",
        "varying-batch-size",
        "warning",
        "BatchNorm with batches of very different sizes",
        "A running statistic moves by momentum whatever the size of the batch: small batches, which are the less "
        "certain, count as much as large ones, and their samples more.",
        "Wu and Johnson 2021, arXiv:2105.07576, section 3",
        "Fill batches to one size, or estimate the statistics anew when training is over: "
        "normlab.recalibrate(model, loader).",
        "DataLoader(data, batch_sampler=batches_of_equal_length)",
        varying,
        ("loader",),
    ),
    Rule(
        "NL205",
        "sorted-batches",
        "warning",
        "BatchNorm with batches of few classes",
        "Training normalizes by the classes of the batch, so that the label can be told from the statistics; "
        "evaluation cannot, and what was learned fails there.",
        "Ioffe 2017, arXiv:1702.03275, section 4.3 (batches that are not i.i.d.)",
        "Give the loader shuffle=True.",
        "DataLoader(sorted_by_class, batch_size=32)  # shuffle=False is the default",
        sorted_order,
        ("loader",),
    ),
)
