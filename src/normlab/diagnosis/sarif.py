"""Findings in the Static Analysis Results Interchange Format (SARIF) 2.1.0, an OASIS standard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from normlab.diagnosis.baseline import fingerprints
from normlab.diagnosis.spec import Finding, Rule

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
WHOLE_MODEL = "the model"  # what the model itself is called where a layer's name is asked for


def sarif_log(
    rules: Sequence[Rule],
    findings: Iterable[Finding],
    crashed: Mapping[str, str],
    source: tuple[str, int] | None = None,
) -> dict[str, Any]:
    """A log of one run: every rule once, and a result for each finding.

    Arguments:
        rules: all rules.
        findings: what was found.
        crashed: the codes of rules that ended in an error, with the error.
        source: the file and line of the user's that the model comes from: where a code host shows the finding.
    """
    index = {rule.code: number for number, rule in enumerate(rules)}
    found = tuple(findings)
    marks = fingerprints(found)
    driver = {"name": "normlab", "version": version("normlab"), "rules": [_rule(rule) for rule in rules]}
    invocation = {
        "executionSuccessful": not crashed,
        "toolExecutionNotifications": [
            {
                "level": "error",
                "message": {"text": f"{code} could not be checked: {error}"},
                "associatedRule": {"id": code, "index": index[code]},
            }
            for code, error in crashed.items()
        ],
    }
    results = [_result(finding, index[finding.code], mark, source) for finding, mark in zip(found, marks, strict=True)]
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    described = {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": _sentence(rule.title)},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.mend}\nSource: {rule.source}"},
        "defaultConfiguration": {"level": rule.severity},
    }
    if rule.source.startswith("https://"):
        described["helpUri"] = rule.source.split()[0].rstrip(",;")
    return described


def _result(finding: Finding, index: int, mark: str, source: tuple[str, int] | None) -> dict[str, Any]:
    where = finding.where or WHOLE_MODEL
    name = where.rpartition(".")[2]
    location: dict[str, Any] = {"logicalLocations": [{"name": name, "fullyQualifiedName": where, "kind": "member"}]}
    if source:
        file, line = source
        location["physicalLocation"] = {"artifactLocation": {"uri": file}, "region": {"startLine": line}}
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": f"{where}: {finding.message.rstrip('.')}. {finding.mend}".strip()},
        "locations": [location],
        "partialFingerprints": {"normlabFinding/v1": mark},
        "properties": {"figures": finding.as_dict()["figures"]},
    }


def _sentence(phrase: str) -> str:
    return f"{phrase[:1].upper()}{phrase[1:]}."
