"""The doctor as a whole: what it leaves alone, what it reports, and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import normlab
from diagnosis import sarif_schema
from normlab.diagnosis import run
from normlab.diagnosis.baseline import fingerprints, write_baseline
from normlab.diagnosis.case import Case
from normlab.diagnosis.catalog import RULES
from normlab.diagnosis.run import assert_healthy, doctor
from normlab.diagnosis.spec import Evidence
from normlab.errors import InputError


@pytest.fixture
def validator() -> Any:
    """Of logs, by the schema of SARIF."""
    jsonschema = pytest.importorskip("jsonschema", reason="the extra `test` brings jsonschema")
    return jsonschema.Draft7Validator(sarif_schema.LOG)


def ill() -> nn.Sequential:
    """GroupNorms of one element, a bias that is wasted."""
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Linear(8, 6), nn.BatchNorm1d(6)]
    for _ in range(6):
        layers += [nn.Linear(6, 6), nn.GroupNorm(6, 6)]
    return nn.Sequential(*layers, nn.Linear(6, 2))


def test_codes_and_names_are_single_sorted_and_said_in_full() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert all((rule.title, rule.why, rule.source, rule.mend, rule.example)), rule.code
        assert rule.code[:3] in ("NL1", "NL2", "NL3", "NL4")
        assert not rule.title.endswith(".")


def test_the_worst_comes_first_and_same_findings_are_folded() -> None:
    diagnosis = doctor(ill(), "5,8")
    assert diagnosis.worst == "error"
    assert [finding.severity for finding in diagnosis.findings] == sorted(
        (finding.severity for finding in diagnosis.findings), key=["error", "warning", "note"].index
    )
    assert len(diagnosis.of("NL101")) == 6
    assert "and 3 more layers: 9, 11, 13" in diagnosis.text()
    assert diagnosis.text().count("NL101 error") == 1


def test_what_is_not_known_is_not_checked_and_said() -> None:
    diagnosis = doctor(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=0.99)), select=("NL1", "NL202"))
    assert diagnosis.unchecked["NL101"] == ("inputs",)
    assert diagnosis.unchecked["NL202"] == ("loader",)
    assert diagnosis.codes == diagnosis.checked == ("NL110",)
    assert "NL202 (needs `loader`)" in diagnosis.text()


def test_a_rule_that_crashes_is_reported_and_leaves_the_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(case: Case) -> Iterator[Evidence]:
        case.model.train()
        torch.manual_seed(7)
        case.model(*case.inputs)  # type: ignore[misc]
        next(case.model.parameters()).grad = torch.ones(6, 8)
        yield Evidence("0", "something")
        raise RuntimeError("planned")

    broken = (replace(RULES[0], check=spoil), *RULES[1:])
    monkeypatch.setattr(run, "RULES", broken)
    model = ill().eval()
    before, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    diagnosis = doctor(model, "5,8")
    assert diagnosis.crashed == {RULES[0].code: "RuntimeError: planned"}
    assert RULES[0].code not in diagnosis.checked
    assert diagnosis.of(RULES[0].code) == ()
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training
    assert next(model.parameters()).grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    notes = diagnosis.sarif()["runs"][0]["invocations"][0]
    assert not notes["executionSuccessful"]
    assert "planned" in notes["toolExecutionNotifications"][0]["message"]["text"]


def test_selection_by_the_beginning_of_codes() -> None:
    assert doctor(ill(), "5,8", select="NL106").codes == ("NL106",)
    assert "NL101" not in doctor(ill(), "5,8", ignore=["nl101"]).codes
    with pytest.raises(InputError, match="NL9"):
        doctor(ill(), "5,8", select="NL9")


def test_the_log_is_valid_and_lists_every_rule_once(validator: Any) -> None:
    log = json.loads(json.dumps(doctor(ill(), "5,8").sarif(), allow_nan=False))
    validator.validate(log)
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.code for rule in RULES]
    results = log["runs"][0]["results"]
    assert len(results) >= 7
    for result in results:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    marks = [result["partialFingerprints"]["normlabFinding/v1"] for result in results]
    assert len(set(marks)) == len(marks)
    assert results[0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "3"


def test_the_log_shows_where_the_users_code_makes_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "built.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Linear(8, 4), nn.GroupNorm(4, 4))\n\n\n"
        "model = build()\n\n\nclass Own(nn.Sequential):\n    pass\n\n\ndef own():\n    return Own(*build())\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    lines = {"built:build": 4, "built:model": 1, "built:own": 11}
    for given, line in lines.items():
        (result,) = doctor(given, "16,8", select="NL101").sarif()["runs"][0]["results"]
        place = result["locations"][0]["physicalLocation"]
        assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("built.py", line), given
    finding = doctor("built:build", "16,8", select="NL101").findings[0]
    assert result["message"]["text"] == f"1: {finding.message}. {finding.mend}"
    assert doctor(nn.Sequential(nn.Linear(8, 4)), "16,8").source is None


def test_the_schema_refuses_what_the_standard_refuses(validator: Any) -> None:
    log = doctor(ill(), "5,8").sarif()
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not validator.is_valid(log)


def test_fingerprints_outlive_other_weights_and_new_layers() -> None:
    one = doctor(ill(), "5,8").findings
    model = ill()
    model.append(nn.Linear(2, 2))
    nn.init.normal_(model[0].weight)  # type: ignore[arg-type]
    assert fingerprints(doctor(model, "7,8").findings) == fingerprints(one)


def test_a_baseline_does_not_hide_what_has_become_an_error(tmp_path: Path) -> None:
    file, model = tmp_path / "known.json", nn.Sequential(nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6))
    variance = model[1].running_var
    assert isinstance(variance, Tensor)
    variance.fill_(1e6)
    (beyond_half,) = doctor(model).findings
    write_baseline([beyond_half], file)
    assert doctor(model, baseline=file).findings == ()
    variance.fill_(float("nan"))
    (worse,) = doctor(model, baseline=file).findings
    assert (worse.code, worse.severity, beyond_half.severity) == (beyond_half.code, "error", "warning")


def test_data_are_as_before_where_a_model_works_on_them_in_place() -> None:
    batches = [torch.randn(8, 6), torch.randn(8, 6)]
    before = [one.clone() for one in batches]
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6), nn.BatchNorm1d(6))
    doctor(model, loader=batches, ddp=True, grad_accumulation=2, amp="bf16", fsdp=True)
    learned = torch.randn(8, 6, requires_grad=True)
    doctor(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), (learned,), grad_accumulation=2)
    assert learned.grad is None
    assert all(torch.equal(one, other) for one, other in zip(batches, before, strict=True))


def test_a_model_that_trains_and_evaluates_differently_is_looked_at_in_the_mode_that_runs() -> None:
    class Detector(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise ValueError("targets are needed")
            return super().forward(x)  # type: ignore[no-any-return]

    diagnosis = doctor(Detector(nn.Linear(8, 6), nn.GroupNorm(6, 6)), "4,8")
    assert not diagnosis.crashed


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_the_state_in_a_checkpoint_is_found(tmp_path: Path, key: str) -> None:
    model = nn.Sequential(nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6))
    torch.save({"epoch": 3, "loss": torch.ones(()), key: dict(model.named_parameters())}, tmp_path / "saved.pt")
    assert "NL409" in {finding.code for finding in doctor(model, checkpoint=tmp_path / "saved.pt")}


def test_a_baseline_hides_what_is_known_and_shows_what_is_new(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    write_baseline(doctor(ill(), "5,8").findings, file)
    model = ill()
    known = doctor(model, "5,8", baseline=file)
    assert known.findings == ()
    assert known.known >= 7
    assert "in the baseline" in known.text()
    model.append(nn.GroupNorm(2, 2))
    assert [finding.where for finding in doctor(model, "5,8", baseline=file)] == ["15"]
    for text, says in (("{}", "something else"), ('{"schema": 2, "known": {}}', "of schema 2")):
        file.write_text(text)
        with pytest.raises(InputError, match=says):
            doctor(model, "5,8", baseline=file)


def test_a_model_that_does_not_take_the_inputs_is_wrong_input() -> None:
    with pytest.raises(InputError, match="must run on its inputs"):
        doctor(ill(), "5,7")


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"amp": "int8"}, "amp"),
        ({"loader": 3}, "loader"),
        ({"optimizer": 3}, "optimizer"),
        ({"checkpoint": "nowhere.safetensors"}, "checkpoint"),
        ({"checkpoint": {"a": 1}}, "checkpoint"),
        ({"baseline": "nowhere.json"}, "baseline"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: dict[str, object], rule: str) -> None:
    with pytest.raises(InputError, match=f"`{rule}`"):
        doctor(ill(), "5,8", **arguments)  # type: ignore[arg-type]


def test_hooks_of_layers_hear_passes_of_the_model_alone() -> None:
    model = nn.Sequential(nn.Conv1d(8, 8, 1), nn.GroupNorm(2, 8), nn.InstanceNorm1d(8, track_running_stats=True))
    heard: list[nn.Module] = []
    for layer in model:
        layer.register_forward_hook(lambda layer, *_: heard.append(layer))
    doctor(model, "16,8,4", amp="fp16")
    assert heard
    assert all(layer in set(model) for layer in heard), "copies on which rules try something have no hooks"


def test_what_is_found_becomes_an_assertion() -> None:
    with pytest.raises(AssertionError, match="NL101 error"):
        assert_healthy(ill(), "5,8")
    assert_healthy(ill(), "5,8", ignore="NL101")
    with pytest.raises(AssertionError, match="NL106 note"):
        assert_healthy(ill(), "5,8", ignore="NL101", severity="note")


def test_inputs_and_batch_size_come_from_the_loader_whose_order_goes_on() -> None:
    generator = torch.Generator().manual_seed(3)
    data = TensorDataset(torch.randn(32, 8), torch.arange(32) % 2)
    loader = DataLoader(data, batch_size=4, shuffle=True, generator=generator)
    state = generator.get_state()
    diagnosis = doctor(ill(), loader=loader)
    assert torch.equal(generator.get_state(), state)
    assert "NL203" in diagnosis.checked
    assert diagnosis.of("NL203")[0].figures["values"] == 4


def test_checkpoints_of_both_kinds_are_read(tmp_path: Path) -> None:
    model = ill()
    save_file(model.state_dict(), tmp_path / "state.safetensors")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "state.pt")
    for name in ("state.safetensors", "state.pt"):
        assert "checkpoint" not in str(doctor(model, checkpoint=tmp_path / name).unchecked)
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Path()))
    with pytest.raises(InputError, match=r"with more than tensors or none\. Save the model's state_dict\.$"):
        doctor(model, checkpoint=tmp_path / "code.pt")


@pytest.mark.parametrize(
    ("model", "inputs", "says"),
    [
        (nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d()), (), "initialized"),
        (3, "3,4", "`model`"),
    ],
    ids=("lazy", "number"),
)
def test_models_that_cannot_be_looked_at_are_refused(model: nn.Module, inputs: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        doctor(model, inputs)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_infinite_inputs_that_come_through_to_a_norm_are_refused_and_others_are_let_be(value: float) -> None:
    class Filled(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.nan_to_num(0.0, 0.0))

    layers, x = (nn.Linear(4, 8), nn.BatchNorm1d(8)), torch.full((16, 4), value)
    with pytest.raises(InputError, match="which come through to '1'"):
        normlab.doctor(nn.Sequential(*layers), x)
    assert normlab.doctor(Filled(*layers), x).worst != "error"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_scripted_models_are_refused() -> None:
    scripted = torch.jit.script(nn.BatchNorm1d(4))
    with pytest.raises(InputError, match="scripted"):
        doctor(scripted, "3,4")
    diagnosis = doctor(nn.Sequential(scripted, nn.GroupNorm(4, 4)), "3,4")  # parts take no hooks, and are left out
    assert {finding.where for finding in diagnosis.findings} == {"1"}


class Stream(IterableDataset[Tensor]):
    """Samples that come one after another."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.randn(9, 8))


@pytest.mark.parametrize(
    ("loader", "known"),
    [
        (lambda: DataLoader(Stream(), batch_size=4), True),
        (lambda: [torch.randn(4, 8), torch.randn(1, 8)], True),
        (lambda: [{"input": torch.randn(4, 8), "labels": torch.ones(4)}], True),
        (lambda: lambda: (torch.randn(4, 8) for _ in range(3)), True),
        (lambda: (torch.randn(4, 8) for _ in range(3)), False),
    ],
    ids=("stream", "list", "mapping", "function", "generator"),
)
def test_loaders_of_every_kind_but_one_that_would_be_used_up(loader: Callable[[], object], known: bool) -> None:
    batches = loader()
    diagnosis = doctor(ill(), loader=batches, select=("NL101", "NL2"))
    assert not diagnosis.crashed
    assert ("NL101" in diagnosis.checked) == known
    assert ("NL202" in diagnosis.checked) == known
    if not known:
        assert len(list(batches)) == 3  # type: ignore[call-overload]
        assert all("again" in diagnosis.unchecked[code][0] for code in ("NL202", "NL204", "NL205"))  # type: ignore[index]


class Advancing:
    """Batches that go on where they were left, as those of a training that can be resumed."""

    def __init__(self) -> None:
        self.place = 0

    def __iter__(self) -> Iterator[Tensor]:
        while self.place < 5:
            self.place += 1
            yield torch.randn(4, 8)


def test_a_loader_that_remembers_its_place_is_where_it_was() -> None:
    loader = Advancing()
    diagnosis = doctor(ill(), loader=loader, select="NL2")
    assert {"NL202", "NL204"} <= set(diagnosis.checked)
    assert len(list(loader)) == 5


def test_a_loader_that_does_not_end_is_said_not_to_be_checked_for_its_last_batch() -> None:
    diagnosis = doctor(ill(), loader=lambda: repeat(torch.randn(4, 8)), select="NL202")
    assert "ends within 64 batches" in diagnosis.text()


def test_too_few_samples_are_said_where_calls_cannot_be_compared() -> None:
    class Model(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](x) - self[0](x.flip(0))  # type: ignore[no-any-return]

    for samples, checked in ((4, False), (8, True)):
        diagnosis = doctor(Model(nn.BatchNorm1d(6)), f"{samples},6", select="NL407")
        assert not diagnosis.findings
        assert ("NL407" in diagnosis.checked) == checked
    assert "8 samples or more" in doctor(Model(nn.BatchNorm1d(6)), "4,6", select="NL407").text()


@pytest.mark.usefixtures("process_group")
def test_a_wrapped_model_is_looked_at_by_the_names_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6))
    for broadcasts in (True, False):
        wrapped = nn.parallel.DistributedDataParallel(model)
        wrapped.broadcast_buffers = broadcasts  # as its argument would, whose name differs from version to version
        diagnosis = doctor(wrapped, "20,8")
        assert "NL403" in diagnosis.checked, "that it is trained so is seen"
        assert ("NL403" in diagnosis.codes) == broadcasts, "and what is broadcast"
    nan = model[1].running_mean
    assert isinstance(nan, Tensor)
    nan.fill_(float("nan"))
    for outer in (wrapped, nn.DataParallel(model), torch.compile(model, backend="eager")):
        assert [finding.where for finding in doctor(outer).of("NL305")] == ["1"]


def test_exported_models_are_refused() -> None:
    class Exported(torch.fx.GraphModule):
        """As `torch.export` makes them, which takes seconds."""

    exported = Exported(nn.Module(), torch.fx.Graph())
    exported.train = lambda mode=True: exported  # type: ignore[method-assign, assignment]
    with pytest.raises(InputError, match="exported"):
        doctor(exported, "3,4")


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_sparse_and_complex_tensors_are_as_before() -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6)
            self.phase = nn.Parameter(torch.ones(6, dtype=torch.complex64))
            self.register_buffer("edges", torch.eye(8).to_sparse())

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            y = self.norm(torch.sparse.mm(edges, self.linear(x)))
            assert isinstance(self.edges, Tensor)
            self.edges.mul_(2.0)
            return y * self.phase  # type: ignore[no-any-return]

    model = Graph()
    for edges in (torch.eye(8).to_sparse(), torch.eye(8).to_sparse_csr()):
        diagnosis = doctor(model, (torch.randn(8, 8), edges), batch_size=2, grad_accumulation=2, ddp=True)
        assert not diagnosis.crashed
        assert torch.equal(model.get_buffer("edges").to_dense(), torch.eye(8))


def test_a_model_that_takes_nothing_is_run_so() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(9, 6), nn.GroupNorm(6, 6)

        def forward(self) -> Tensor:
            return self.norm(self.table.weight)  # type: ignore[no-any-return]

    diagnosis = doctor(Embedded(), batch_size=2, grad_accumulation=2, ddp=True, amp="bf16")
    assert diagnosis.codes == ("NL101",)
    assert not diagnosis.crashed


def test_without_numbers_it_is_said_that_they_are_missing() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.GroupNorm(6, 6)).to("meta")
    diagnosis = doctor(model, "4,8")
    assert not diagnosis.crashed
    assert "need parameters that hold numbers" in diagnosis.text()


@pytest.mark.parametrize("breaks_at", [1, 2, 3, 5, 8])
def test_an_interruption_leaves_everything_as_it_was(breaks_at: int) -> None:
    passes = count(1)

    class Interrupted(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            torch.manual_seed(number := next(passes))
            if number == breaks_at:
                raise KeyboardInterrupt
            return super().forward(x)  # type: ignore[no-any-return]

    model = Interrupted(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout())
    model[1].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        doctor(model, torch.randn(8, 8, generator=torch.Generator().manual_seed(0)), grad_accumulation=2, ddp=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for part in model.modules()] == [True, True, False, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_a_log_of_layers_with_strange_names_is_valid(validator: Any) -> None:
    names = ['a/"b"<c>', "new\nline", "{0} %20", "\u202eabc", "\ud83d", " ", "a" * 300, "\\"]

    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for part in self.children():
                x = x + part(x)
            return x

    model = Strange()
    model._modules.update({name: nn.GroupNorm(6, 6) for name in names})
    log = json.loads(json.dumps(doctor(model, "4,6").sarif(), allow_nan=False))
    validator.validate(log)
    found = [
        result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] for result in log["runs"][0]["results"]
    ]
    assert found == names


class Block(nn.Module):
    """A residual block of a ResNet, with the last gamma at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.norm2(self.second(nn.functional.relu(self.norm1(self.first(x))))))


class LayerNormRecurrent(nn.Module):
    """An LSTM whose output is normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.norm = nn.LSTM(8, 16, batch_first=True), nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.lstm(x)[0])


class UNet(nn.Module):
    """Two levels with GroupNorm and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU())
        self.low = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(8, 32), nn.SiLU())
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.out = nn.Sequential(nn.Conv2d(32, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        return self.out(torch.cat((high, self.up(self.low(high))), 1))


HEALTHY = {
    "resnet": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), Block(8), Block(8)),
        "16,3,12,12",
    ),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True), 2, enable_nested_tensor=False
        ),
        "4,6,16",
    ),
    "u-net": (UNet, "2,3,16,16"),
    "lstm": (LayerNormRecurrent, "4,5,8"),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_models(name: str) -> None:
    build, inputs = HEALTHY[name]
    torch.manual_seed(0)
    size = int(inputs.partition(",")[0])
    more = {"optimizer": lambda model: torch.optim.SGD(model.parameters(), 0.1), "batch_size": size, "amp": "bf16"}
    diagnosis = normlab.doctor(build(), inputs, **more)
    assert not diagnosis.crashed
    assert diagnosis.findings == (), diagnosis.text()


def test_inputs_without_samples_are_refused() -> None:
    with pytest.raises(InputError, match="must hold samples"):
        doctor(ill(), torch.randn(0, 8), batch_size=2)


class Giving(nn.Module):
    """A model with a bias too many, statistics that lag and a norm that is not called, and outputs in some form."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.spare = nn.BatchNorm1d(4)
        nn.init.constant_(self.net[1].running_mean, 3.0)

    def forward(self, x: Tensor) -> Any:
        return self.form(self.net(x))


def test_outputs_in_objects_are_looked_into() -> None:
    expected = doctor(Giving(lambda y: y), "16,6", grad_accumulation=2)
    assert {"NL106", "NL112", "NL301", "NL302"} <= set(expected.codes)
    diagnosis = doctor(Giving(lambda y: SimpleNamespace(logits=y)), "16,6", grad_accumulation=2)
    assert diagnosis.findings == expected.findings


def test_rules_that_find_no_outputs_are_listed_as_not_checked() -> None:
    diagnosis = doctor(Giving(lambda y: float(y.detach().mean())), "16,6", grad_accumulation=2, ddp=True)
    assert not diagnosis.crashed
    assert diagnosis.unchecked is not None
    for code in ("NL106", "NL112", "NL301", "NL303", "NL403"):
        assert diagnosis.unchecked[code] == ("floating-point tensors in the outputs of the model",), code
    assert "outputs of" not in diagnosis.of("NL302")[0].message


class Followed(nn.Module):
    """A model with an average of its weights beside it, which the forward pass does not call."""

    def __init__(self, average: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.ema = average(self.net)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def wrapped(net: nn.Module) -> nn.Module:
    """An average of weights in a class of the user's own."""
    return nn.ModuleDict({"ema_model": copy.deepcopy(net)}).requires_grad_(False)


def test_an_average_of_weights_that_is_not_called_is_no_dead_norm() -> None:
    for average in (AveragedModel, wrapped, lambda net: copy.deepcopy(net).requires_grad_(False)):
        assert "NL112" not in doctor(Followed(average), "16,6").codes
    spare = doctor(Followed(copy.deepcopy), "16,6").of("NL112")
    assert [finding.where for finding in spare] == ["ema.1"], "a second network that learns and is not called"
    assert not doctor(Followed(AveragedModel).ema.requires_grad_(False), "16,6").of("NL304")


def test_an_advised_swap_has_groups_of_two_channels_and_enough_elements() -> None:
    dense = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.Linear(64, 32), nn.BatchNorm1d(32))
    convolutions = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.Conv2d(12, 16, 3), nn.BatchNorm2d(16))
    for model, inputs, groups in ((dense, "16,8", 2), (convolutions, "16,3,16,16", 4)):
        diagnosis = doctor(model, inputs, grad_accumulation=2, ddp=True)
        advised = {finding.mend for finding in diagnosis if "swap(model, 'group" in finding.mend}
        assert advised
        assert all(f"swap(model, 'group:groups={groups}'" in mend for mend in advised)
        swapped, _ = normlab.swap(model, f"group:groups={groups}")
        assert not {"NL101", "NL102", "NL111"} & set(doctor(swapped, inputs).codes)
