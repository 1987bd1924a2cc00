"""Reads the page of a study: its text, references and embedded data, in Python and in a browser."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from normlab.analysis import Evidence
from normlab.report.console import with_comparisons

VOID = {"meta", "img", "input", "br", "link"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


class Reader(HTMLParser):
    """Collects text, references and embedded data, and checks that elements are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.references: list[str] = []
        self.text = ""
        self.data: dict[str, str] = {}
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.references += [value for name, value in named.items() if name in {"src", "href"} and value]
        if tag == "img":
            assert named["alt"]
        if tag not in VOID:
            self.open.append((tag, named))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.open.pop()
        assert opened == tag

    def handle_data(self, data: str) -> None:
        tag, named = self.open[-1] if self.open else ("", {})
        if tag == "script" and "id" in named:
            self.data[str(named["id"])] = data
        elif tag not in {"script", "style"}:
            self.text += data

    def unpacked(self, name: str) -> bytes:
        """The content of a compressed script element."""
        return gzip.decompress(base64.b64decode(self.data[name]))


def whole_text(page: str) -> str:
    """All that a page says, the conditions that a reader has still to pick among it."""
    reader = Reader(page)
    texts = [reader.text]
    if "conditions" in reader.data:
        for part in json.loads(reader.unpacked("conditions")):
            texts += [Reader(content).text for content in part.values()]
    return " ".join(" ".join(texts).split())


def printed(evidence: Evidence, width: int = 120) -> str:
    """What `normlab show --all` prints in a terminal of so many columns."""
    console = Console(width=width, record=True, file=io.StringIO())
    for part in with_comparisons(evidence, width, every_metric=True):
        console.print(part)
    return console.export_text()


def browsed(page: Path, script: str = "", fragment: str = "", size: str = "1440,1000") -> tuple[str, Any]:
    """The page as a browser has built it, and what a script in it has seen.

    Arguments:
        page: the file.
        script: statements of an asynchronous function that may fill the object ``seen``.
        fragment: what the address ends with, behind ``#``.
        size: of the window.
    """
    used = page.with_name("used.html")
    content = page.read_text(encoding="utf-8")
    used.write_text(
        content.replace("</body>", f"<script>{SCRIPT.replace('STATEMENTS', script)}</script></body>"), encoding="utf-8"
    )
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]
    command += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={page.parent / 'browser'}"]
    address = used.as_uri() + (f"#{fragment}" if fragment else "")
    done = subprocess.run(
        [*command, f"--window-size={size}", address], capture_output=True, text=True, timeout=180, check=True
    )
    assert "Uncaught" not in done.stderr
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert seen is not None
    return done.stdout, json.loads(html.unescape(seen[1]))


SCRIPT = """
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
const change = (element, key, value) => { element[key] = value; element.dispatchEvent(new Event("change", { bubbles: true })); };
const rows = () => [...document.querySelectorAll("#comparisons tbody tr")].filter((row) => !row.hidden);
(async () => {
  const seen = {}, place = document.getElementById("chart-curves");
  while (!place._fullData || !document.querySelector("#chart-noise .main-svg")) await pause(50);
  STATEMENTS
  document.body.append(Object.assign(document.createElement("pre"), { id: "seen", textContent: JSON.stringify(seen) }));
})();
"""  # noqa: E501
