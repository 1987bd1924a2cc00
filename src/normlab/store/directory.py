"""A study's folder: the frozen study, and one file for each part of it that is finished.

What exists is done, what is missing is still to do. Files are written under a temporary name, flushed and
renamed, so that a file is either whole or not there; each is named by the hash of its bytes, so that one that
was damaged later is noticed when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from normlab.errors import InputError
from normlab.records import Outcome
from normlab.store.fragment import decode, encode
from normlab.study import Study

SCHEMA = 1
STUDY, MANIFEST, RUNS, DAMAGED = "study.toml", "manifest.json", "runs", "damaged"
_UNFINISHED = ".unfinished-"


class DamagedFile(UserWarning):
    """A stored file could not be read back whole; it was set aside and its runs will be trained again."""


@dataclass(frozen=True)
class Store:
    """The folder of one study.

    Arguments:
        path: the folder.
        study: the study that it holds.
        claims: the hash of the claims as they were defined before the first run.
    """

    path: Path
    study: Study
    claims: str

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Keeps finished outcomes, all of them or none."""
        content = encode(list(outcomes))
        _write(self.path / RUNS / f"{_name(content)}.parquet", content)

    def outcomes(self) -> list[Outcome]:
        """Everything that is stored, each run once."""
        found: dict[str, Outcome] = {}
        for path in sorted((self.path / RUNS).glob("*.parquet")):
            for outcome in self._read(path):
                key = outcome.run.key
                if key not in found or found[key].status == "failed":
                    found[key] = outcome
        return list(found.values())

    def _read(self, path: Path) -> list[Outcome]:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # set aside by another process
            return []
        if _name(content) == path.stem:
            return decode(content)
        aside = path.parent / DAMAGED / path.name
        try:
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside)
            place = f"set aside as {aside}"
        except OSError:
            place = "left where it is"
        warnings.warn(
            f"{path.name} is damaged ({len(content)} bytes that do not match its name) and was {place}; "
            "its runs count as not done, and `normlab run` trains them again.",
            DamagedFile,
            stacklevel=3,
        )
        return []


def create(path: Path, study: Study, claims: str) -> Store:
    """The folder ``path`` for ``study``: a new one, or the one that already holds it.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    if (path / STUDY).exists():
        store = load(path)
        if store.study.key != study.key:
            raise InputError(
                "the output folder must be new or hold this very study",
                f"{path}, which holds another one ({_difference(store.study, study)})",
                "Choose another `out`, or remove this one.",
            )
        if store.claims != claims:
            raise InputError(
                "claims must stay as they were when the first run was made",
                f"{path}, whose claims were defined differently",
                "Choose another `out`.",
            )
        _check_writable(path)
        return store
    try:
        path.mkdir(parents=True, exist_ok=True)
        entries = [entry.name for entry in path.iterdir() if not entry.name.startswith(_UNFINISHED)]
    except OSError as error:
        raise _unwritable(path, error) from None
    if set(entries) - {RUNS, MANIFEST}:
        given = f"{path}, which holds {sorted(entries)[0]!r} but no {STUDY}"
        raise InputError("the output folder must be new or hold this very study", given, "Choose another `out`.")
    try:
        (path / RUNS).mkdir(exist_ok=True)
        _write(path / MANIFEST, json.dumps({"schema": SCHEMA, "study": study.key, "claims": claims}).encode())
        _write(path / STUDY, study.to_toml().encode())
    except OSError as error:
        raise _unwritable(path, error) from None
    return Store(path, study, claims)


def load(path: Path) -> Store:
    """The folder that ``normlab run`` made.

    Raises:
        InputError: it is not such a folder, or of another version.
    """
    rule = "DIR must be a folder that normlab run made"
    try:
        text = (path / STUDY).read_text(encoding="utf-8")
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(rule, f"{path} ({_why_no_results(path, error)})", "Check the path.") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise InputError(f"{rule}, in format {SCHEMA}", f"{path}, in another format", "Use the normlab that wrote it.")
    study = Study.from_toml(text, str(path / STUDY))
    if study.key != manifest.get("study"):
        given = f"{path}, whose {STUDY} was changed after the first run"
        raise InputError("a study must stay as it was when its runs were made", given, "Use a new folder for it.")
    return Store(path, study, str(manifest.get("claims")))


def _why_no_results(path: Path, error: Exception) -> str:
    """Why what is there cannot be read as results, in words."""
    if path.is_dir() and isinstance(error, FileNotFoundError):
        return f"the folder is there, but holds no {STUDY if not (path / STUDY).exists() else MANIFEST}"
    if path.is_file():
        return "it is a file"
    return error.strerror or "it cannot be read" if isinstance(error, OSError) else "it cannot be read"


def make_folder(path: Path) -> Path:
    """The folder ``path``, made if it is not there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def write_file(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        _write(path, content)
    except OSError as error:
        raise _unwritable(path, error) from None


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{_UNFINISHED}{uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _name(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _check_writable(path: Path) -> None:
    try:
        (path / RUNS).mkdir(exist_ok=True)
        probe = path / RUNS / f"{_UNFINISHED}{uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError("the output folder must be writable", f"{path} ({error.strerror})", "Choose another `out`.")


def _difference(stored: Study, given: Study) -> str:
    """The first field in which two studies differ, with both values."""
    ours, theirs = _flat(given.as_dict()), _flat(stored.as_dict())
    name = next(name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name))
    return f"{name} is {theirs.get(name)!r} there and {ours.get(name)!r} here"


def _flat(content: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(content, dict):
        return {prefix: content}
    parts = (_flat(value, f"{prefix}.{key}" if prefix else key) for key, value in content.items())
    return {name: value for part in parts for name, value in part.items()}
