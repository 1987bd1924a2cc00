"""The part of the schema of SARIF 2.1.0 (OASIS, sections 3.13 to 3.58) that the logs of the doctor use.

As in the whole schema, no object may have a property that the standard does not name; those that the logs do not use
are left out, so that this is stricter.
"""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
INDEX = {"type": "integer", "minimum": -1}
LEVEL = {"enum": ["none", "note", "warning", "error"]}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _array(items: dict[str, Any], least: int = 0, unique: bool = False) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "uniqueItems": unique}


MESSAGE = {**_object(text=TEXT, markdown=TEXT, id=TEXT), "anyOf": [{"required": ["text"]}, {"required": ["id"]}]}
WORDING = _object(("text",), text=TEXT, markdown=TEXT)
BAG = {"type": "object"}
RULE = _object(
    ("id",),
    id=TEXT,
    name=TEXT,
    shortDescription=WORDING,
    fullDescription=WORDING,
    help=WORDING,
    helpUri={"type": "string", "format": "uri"},
    defaultConfiguration=_object(enabled={"type": "boolean"}, level=LEVEL),
    properties=BAG,
)
DRIVER = _object(("name",), name=TEXT, version=TEXT, informationUri=TEXT, rules=_array(RULE, unique=True))
REFERENCE = {
    **_object(id=TEXT, index=INDEX),
    "anyOf": [{"required": ["index"]}, {"required": ["id"]}],
}
NOTIFICATION = _object(("message",), message=MESSAGE, level=LEVEL, associatedRule=REFERENCE, descriptor=REFERENCE)
INVOCATION = _object(
    ("executionSuccessful",),
    executionSuccessful={"type": "boolean"},
    toolExecutionNotifications=_array(NOTIFICATION, unique=True),
)
LOGICAL = _object(name=TEXT, fullyQualifiedName=TEXT, decoratedName=TEXT, kind=TEXT, index=INDEX)
PHYSICAL = _object(
    ("artifactLocation",),
    artifactLocation=_object(uri={"type": "string", "format": "uri-reference"}, uriBaseId=TEXT, index=INDEX),
    region=_object(startLine={"type": "integer", "minimum": 1}),
)
LOCATION = _object(id=INDEX, physicalLocation=PHYSICAL, logicalLocations=_array(LOGICAL, unique=True), message=MESSAGE)
RESULT = _object(
    ("message",),
    ruleId=TEXT,
    ruleIndex=INDEX,
    level=LEVEL,
    message=MESSAGE,
    locations=_array(LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    properties=BAG,
)
RUN = _object(
    ("tool",),
    tool=_object(("driver",), driver=DRIVER),
    invocations=_array(INVOCATION, unique=True),
    results=_array(RESULT),
)
LOG = _object(("version", "runs"), version={"enum": ["2.1.0"]}, runs=_array(RUN), **{"$schema": TEXT})
