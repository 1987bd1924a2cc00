"""A folder of results with copies of its runs under further seeds, to see how reports grow without training for hours.

python3 benchmarks/speed/copies.py FOLDER SEEDS     with src/ of a version on PYTHONPATH, that of the folder

The folder is as if its study had so many seeds; a run of seed s is a copy of one of the first seeds.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import polars as pl


def main(folder: Path, seeds: int) -> None:
    """Adds the copies, and changes the number of seeds in the study."""
    text = (folder / "study.toml").read_text(encoding="utf-8")
    first = int(re.findall(r"^seeds = (\d+)", text, re.MULTILINE)[0])
    text = re.sub(r"^seeds = \d+", f"seeds = {seeds}", text, flags=re.MULTILINE)
    for path in sorted((folder / "runs").glob("*.parquet")):
        for frame in _copies(pl.read_parquet(path), first, seeds):
            content = io.BytesIO()
            frame.write_parquet(content, compression_level=1)
            name = hashlib.blake2b(content.getvalue(), digest_size=16).hexdigest()
            (folder / "runs" / f"{name}.parquet").write_bytes(content.getvalue())
    (folder / "study.toml").write_text(text, encoding="utf-8")
    if not find_spec("normlab.training"):  # versions whose folders belong to one study
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest["study"] = import_module("normlab.study").Study.from_toml(text).key
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _copies(frame: pl.DataFrame, first: int, seeds: int) -> Iterator[pl.DataFrame]:
    for shift in range(first, seeds, first):
        copy = frame.with_columns(pl.col("seed") + shift).filter(pl.col("seed") < seeds)
        if copy.is_empty():
            continue
        if "key" in copy.columns:
            digest = import_module("normlab.record").digest
            rows = zip(copy["arm"], copy["seed"], strict=True)
            keys = [digest([json.loads(arm)["key"], seed]) for arm, seed in rows]
            copy = copy.with_columns(pl.Series("key", keys))
        yield copy


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
