"""A folder of results: runs, one file for each part of the work that is finished, and the study they are shown for.

What exists is done, what is missing is still to do. Files are written under a temporary name, flushed and renamed, so
that a file is either whole or not there; each is named by the hash of its bytes, so that one that was damaged later is
noticed when it is read. A folder grows: runs stay whatever study made them, and belong to every study that asks for
the same runs.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from normlab.errors import InputError
from normlab.files import UNFINISHED, check_writable, unwritable, write_whole
from normlab.plan import Plan
from normlab.record import digest
from normlab.store.fragment import decode, decode_engines, decode_status, encode
from normlab.study.arm import Arm
from normlab.study.outcome import Outcome
from normlab.study.study import Study

SCHEMA = 2
MANIFEST, STUDY, PLAN, RUNS, DAMAGED = "manifest.json", "study.toml", "plan.json", "runs", "damaged"
RULE = "DIR must be a folder that normlab run made"


class DamagedFile(UserWarning):
    """A stored file could not be read back whole; its runs count as not done."""


@dataclass(frozen=True)
class Store:
    """A folder of results.

    Arguments:
        path: the folder.
        mends: whether damaged files are set aside when they are met; only what trains does that.
    """

    path: Path
    mends: bool = False

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Keeps finished outcomes, all of them or none."""
        content = encode(list(outcomes))
        write_whole(self.path / RUNS / f"{name_of(content)}.parquet", content)

    def outcomes(self, keys: Set[str] | None = None) -> list[Outcome]:
        """The stored outcomes, each run once; only those of ``keys`` if they are given."""
        kept: dict[tuple[Arm, int], Outcome] = {}
        for content in self._contents():
            for outcome in decode(content, keys):
                run = outcome.arm, outcome.seed
                if run not in kept or kept[run].status == "failed":
                    kept[run] = outcome
        return list(kept.values())

    def statuses(self) -> dict[tuple[Arm, int], str]:
        """What became of every stored run."""
        kept: dict[tuple[Arm, int], str] = {}
        for content in self._contents():
            for arm, seed, status in decode_status(content):
                if kept.get((arm, seed), "failed") == "failed":
                    kept[arm, seed] = status
        return kept

    def engines(self) -> dict[Arm, str]:
        """The engine that trained the runs of each arm; of several the first by name."""
        engines: dict[Arm, str] = {}
        for content in self._contents():
            for arm, engine in decode_engines(content):
                engines[arm] = min(engine, engines.get(arm, engine))
        return engines

    def files(self) -> list[Path]:
        """The files that hold runs."""
        return sorted((self.path / RUNS).glob("*.parquet"))

    def keep_plan(self, plan: Plan, claims: Iterable[Mapping[str, Any]] = ()) -> None:
        """Makes ``plan`` and its study the one that the folder is shown for.

        Raises:
            InputError: the folder cannot be written.
        """
        judged = [self._dated(claim, plan) for claim in claims]
        content = {"schema": SCHEMA, "study": plan.study.key, **plan.as_dict(), "claims": judged}
        try:
            write_whole(self.path / PLAN, json.dumps(content, indent=1).encode())
            write_whole(self.path / STUDY, plan.study.to_toml().encode())
        except OSError as error:
            raise unwritable(self.path, error) from None

    def plan(self) -> tuple[Plan, list[dict[str, Any]]]:
        """The plan that the folder is shown for, without recipes, and its claims as plain data.

        Raises:
            InputError: there is none, or it is not whole.
        """
        try:
            study = Study.from_toml((self.path / STUDY).read_text(encoding="utf-8"), str(self.path / STUDY))
            content = json.loads((self.path / PLAN).read_text(encoding="utf-8"))
            return Plan.from_dict(study, content), content["claims"]
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            given = f"{self.path} ({_reason(error)})"
            raise InputError(f"{RULE}, with {STUDY} and {PLAN}", given, "Run its study again into it.") from None

    def _dated(self, claim: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
        """A claim with its hash, when it was first named here in this form, and how many of its runs there were."""
        for known in self._known_claims():
            if known.keys() >= _DATED and _stated(known) == _stated(claim):
                return {**claim, **{name: known[name] for name in _DATED}}
        keys = {arm.key for arm in plan.arms}
        before = sum(arm.key in keys for arm, _ in self.statuses())
        return {
            **claim,
            "hash": digest(_stated(claim)),
            "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            "runs_before": before,
        }

    def _known_claims(self) -> list[dict[str, Any]]:
        try:
            claims = json.loads((self.path / PLAN).read_text(encoding="utf-8"))["claims"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [claim for claim in claims if isinstance(claim, dict)]

    def _contents(self) -> Iterator[bytes]:
        for path in self.files():
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # set aside by another process
                continue
            if name_of(content) == path.stem:
                yield content
            else:
                self._report_damage(path, len(content))

    def _report_damage(self, path: Path, size: int) -> None:
        place = "left where it is"
        if self.mends:
            aside = path.parent / DAMAGED / path.name
            try:
                aside.parent.mkdir(exist_ok=True)
                path.replace(aside)
                place = f"set aside as {aside}"
            except OSError:
                pass
        warnings.warn(
            f"{path.name} is damaged ({size} bytes that do not match its name) and was {place}; "
            "its runs count as not done, and `normlab run` trains them again.",
            DamagedFile,
            stacklevel=4,
        )


_DATED = {"hash", "since", "runs_before"}
_TOLD = {"models", "theme", "original", "scale", "quick"}


def _stated(claim: Mapping[str, Any]) -> dict[str, Any]:
    """What a claim says.

    The options of its tasks that it leaves at their defaults are no part of it, so that a task's new option does not
    make it another claim; nor is what is only told of it.
    """
    content = {name: value for name, value in claim.items() if name not in _DATED | _TOLD}
    return dict(json.loads(json.dumps(content)))  # as it comes back from a folder


def create(path: Path) -> Store:
    """The folder ``path`` for training: a new one, or one that holds runs already.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    check_place(path)
    try:
        (path / RUNS).mkdir(parents=True, exist_ok=True)
        if not (path / MANIFEST).exists():
            write_whole(path / MANIFEST, json.dumps({"schema": SCHEMA}).encode())
    except OSError as error:
        raise unwritable(path, error) from None
    check_writable(path / RUNS)
    return Store(path, mends=True)


def check_place(path: Path) -> bool:
    """Whether ``path`` holds results already; if not, it is one where a folder can be made. Writes nothing.

    Raises:
        InputError: the folder holds something else, or results of another version.
    """
    rule = "the output folder must be new or hold results of normlab"
    try:
        entries = {entry.name for entry in path.iterdir() if not entry.name.startswith(UNFINISHED)}
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unwritable(path, error) from None
    if MANIFEST in entries:
        _check_manifest(path)
        return True
    if entries - {RUNS}:
        raise InputError(rule, f"{path}, which holds {min(entries - {RUNS})!r}", "Choose another one.")
    return False


def load(path: Path) -> Store:
    """The folder that ``normlab run`` made, for reading.

    Raises:
        InputError: it is not such a folder, or of another version.
    """
    if not path.exists():
        raise InputError(RULE, f"{path}, which is not there", "Check the path.")
    if not path.is_dir() or not (path / MANIFEST).exists():
        what = "which is there, but holds no results" if path.is_dir() else "which is no folder"
        raise InputError(RULE, f"{path}, {what}", "Check the path.")
    _check_manifest(path)
    return Store(path)


def _check_manifest(path: Path) -> None:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(RULE, f"{path / MANIFEST} ({_reason(error)})", "Choose another one.") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        advice = "Use the normlab that wrote it, or choose another folder."
        raise InputError(f"{RULE}, in format {SCHEMA}", f"{path}, in format {schema!r}", advice)


def name_of(content: bytes) -> str:
    """The name of a file with this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it cannot be read"
