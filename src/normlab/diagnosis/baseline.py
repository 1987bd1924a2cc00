"""Files of findings that are known, so that only new ones are shown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from normlab.diagnosis.spec import Finding
from normlab.errors import InputError
from normlab.files import write_file

SCHEMA = 1
LENGTH = 16  # hexadecimal digits of a fingerprint


def fingerprints(findings: Iterable[Finding]) -> list[str]:
    """What a finding is known again by: its rule, its layer, whether it is an error, and its number among those.

    Figures and words may change from run to run and are left out; what was known as a warning and has become an error
    is not known.

    >>> one, other = Finding("NL101", "error", "a", "6 of 6", ""), Finding("NL101", "error", "b", "6 of 6", "")
    >>> len(set(fingerprints([one, other, one])))
    3
    """
    counts: Counter[tuple[str, ...]] = Counter()
    marks = []
    for finding in findings:
        place = (finding.code, finding.where, "error" if finding.severity == "error" else "")
        marks.append(
            sha256("\0".join((*place, str(counts[place]))).encode(errors="backslashreplace")).hexdigest()[:LENGTH]
        )
        counts[place] += 1
    return marks


def write_baseline(findings: Iterable[Finding], path: Path) -> None:
    """Writes a file of these findings, sorted, a line each: it reads well under version control.

    Raises:
        InputError: it cannot be written.
    """
    found = list(findings)
    known = {
        mark: f"{finding.code} {finding.where}".strip()
        for mark, finding in zip(fingerprints(found), found, strict=True)
    }
    ordered = dict(sorted(known.items(), key=lambda item: (item[1], item[0])))
    write_file(path, (json.dumps({"schema": SCHEMA, "known": ordered}, indent=1) + "\n").encode())


def read_baseline(path: Path) -> frozenset[str]:
    """The fingerprints of the known findings.

    Raises:
        InputError: there is no such file, or it is none of these, or one of another version.
    """
    rule = "`baseline` must be a file that `write_baseline` made"
    try:
        content = json.loads(path.read_bytes())
        schema, known = content["schema"], frozenset(dict(content["known"]))
    except OSError as error:
        raise InputError(rule, f"{path} ({error.strerror})", "Write one first.") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(rule, f"{path}, which is something else", "Write one first.") from None
    if schema != SCHEMA:
        given = f"{path}, which is of schema {schema!r}, and this version knows {SCHEMA}"
        raise InputError(rule, given, "Write it again with this version of normlab.")
    return known
