"""Developer commands, with nothing but Python: sets up an environment in .venv and runs in it.

python3 dev.py setup   create .venv and install normlab with everything for development; further extras by name:
                       `setup oracles zoo` for the tests against other libraries and their models
python3 dev.py demo    set up, then run the article study at two lengths, three batch sizes and two rates
python3 dev.py test    set up, then run the tests (--all: the slow ones too; other options go to pytest)
python3 dev.py lint    set up, then check style and types
python3 dev.py bench   set up, then run a benchmark of benchmarks/ by name
python3 dev.py ledger  set up, then test every claim (an hour) and write docs/ledger.md and what `normlab advise` reads
python3 dev.py docs    set up, then check that examples and links in the documents hold
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if sys.platform == "win32" else "bin")
PYTHON = SCRIPTS / "python"
MARK = VENV / "installed"  # holds a hash of what was installed; written last
OLDEST = (3, 11)
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


def main(arguments: list[str]) -> int:
    """Runs one command; gives its exit status."""
    listed = (setup, demo, test, lint, bench, ledger, docs)
    commands = {command.__name__: command for command in listed}
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        return 0 if arguments in ([], ["-h"], ["--help"]) else 2
    if sys.version_info < OLDEST:
        print(f"Python {'.'.join(map(str, OLDEST))} or newer is needed; this is {sys.version.split()[0]}.")
        return 2
    if arguments[0] != "setup":
        _set_up()
    return commands[arguments[0]](arguments[1:])


def setup(extras: list[str]) -> int:
    """Creates .venv and installs, unless that was done for these very requirements; then further extras."""
    _set_up()
    return _install(extras) if extras else 0


def _set_up() -> None:
    wanted = _requirements()
    if MARK.exists() and MARK.read_text() == wanted:
        return
    if not _works():
        print(f"Creating {VENV.name} ...", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        if status := _run([sys.executable, "-m", "venv", str(VENV)]):
            sys.exit(status)
    print("Installing normlab and what it needs; the first time takes minutes ...", flush=True)
    if status := _install(["test", "lint"]):
        sys.exit(status)
    MARK.write_text(wanted)
    print(f"Ready: {SCRIPTS.relative_to(ROOT) / 'normlab'} --help", flush=True)


def demo(arguments: list[str]) -> int:
    """The article's study; further arguments go to ``normlab run article``."""
    out = [] if "--out" in arguments else ["--out", "results/article"]
    return _run([str(SCRIPTS / "normlab"), "run", "article", *out, *arguments])


def test(arguments: list[str]) -> int:
    """The quick tests; with --all every test."""
    chosen = [] if "--all" in arguments else ["-m", "not slow"]
    rest = [argument for argument in arguments if argument != "--all"]
    return _run([str(PYTHON), "-m", "pytest", "-n", "2", *chosen, *rest])


def lint(_: list[str]) -> int:
    """Style and types."""
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])
    return max(_run([str(PYTHON), "-m", *check]) for check in checks)


def bench(arguments: list[str]) -> int:
    """A benchmark by its name in benchmarks/."""
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    if not arguments or arguments[0] not in names:
        print(f"Which benchmark? {', '.join(names) or 'There is none yet.'}")
        return 2
    found = subprocess.run([str(PYTHON), "-c", "import jax, timm"], capture_output=True, check=False)
    if found.returncode and _install(["bench"]):
        print("Without the rivals of the extra `bench`, their rows say so.", flush=True)
    return _run([str(PYTHON), f"benchmarks/{arguments[0]}.py", *arguments[1:]])


def ledger(arguments: list[str]) -> int:
    """Every claim, then the ledger; further arguments go to ``normlab claims run``. Goes on where it was stopped."""
    folder = ROOT / "results" / "claims"
    status = _run([str(SCRIPTS / "normlab"), "claims", "run", "--all", "--out", str(folder), *arguments])
    if status < 2:
        status = _run([str(SCRIPTS / "normlab"), "claims", "ledger", str(folder), "--out", "docs"])
    if not status:
        (ROOT / "docs" / "ledger.json").replace(ROOT / "src" / "normlab" / "guidance" / "ledger.json")
    return status


def docs(_: list[str]) -> int:
    """The documents are Markdown; their commands and links are checked by tests."""
    return _run([str(PYTHON), "-m", "pytest", "-q", "tests/test_documents.py", "tests/test_examples.py"])


def _requirements() -> str:
    files = ("pyproject.toml", "constraints.txt")
    content = b"".join((ROOT / name).read_bytes() for name in files) + sys.version.encode()
    return hashlib.sha256(content).hexdigest()


def _works() -> bool:
    """Whether .venv has a Python with pip; a half-made one has not."""
    try:
        found = subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return found.returncode == 0


def _run(command: list[str]) -> int:
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _install(extras: list[str]) -> int:
    """Installs normlab with extras into .venv."""
    command = [str(PYTHON), *INSTALL, "-c", "constraints.txt", "-e", f".[{','.join(extras)}]"]
    status = _run(command)
    if status:
        print(f"`{' '.join(command)}` failed; mend what it says above and run this again.", file=sys.stderr)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
