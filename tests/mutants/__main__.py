"""Which tests notice each of the changes of `changes.py`: those that none notices are printed, and are exit 1.

    python -m tests.mutants [WORD …]

Each change is made in a copy of the repository, the hot path built anew where it is of it, and the tests run that are
about it. WORDs pick changes by their rule or file. All of them take some ten minutes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.changes import CHANGES, Change

ROOT = Path(__file__).parents[2]
TESTS = (
    "tests/service/test_gate.py", "tests/service/ingest/test_ties.py", "tests/service/ingest/test_saved.py",
    "tests/service/ingest/test_bounds.py",
    "tests/service/ingest/test_join.py", "tests/service/ingest/test_sessions.py",
    "tests/service/ingest/test_odd_streams.py", "tests/service/ingest/test_reference.py",
)  # fmt: skip
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".cache", ".hypothesis", ".mypy_cache", ".ruff_cache", "tocsin-data")
NAMED = 3
"""So many of the tests that notice a change are named."""
FAST = {"TOCSIN_CFLAGS": "-O1"}
"""Compiling takes half as long."""


def main() -> int:
    """Make each change in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    changes = [each for each in CHANGES if all(word in f"{each.rule} {each.path}" for word in words)]
    survived = []
    with tempfile.TemporaryDirectory() as passing:
        copy = Path(passing) / "copy"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        build(copy)
        assert not failing(copy), "the tests fail without any change"
        for change in changes:
            noticed = tried(copy, change)
            survived += [] if noticed else [change]
            print(f"{'killed' if noticed else 'SURVIVED':9} {change.path}: {change.rule}", flush=True)
            for name in noticed:
                print(f"{'':9} by {name}", flush=True)
    print(f"{len(changes) - len(survived)} of {len(changes)} are noticed")
    return int(bool(survived))


def tried(copy: Path, change: Change) -> list[str]:
    """The tests that fail with a change, which is then taken back."""
    path = copy / change.path
    text = path.read_text()
    assert text.count(change.before) == 1, f"{change.path} has {text.count(change.before)} times: {change.before}"
    compiled = path.suffix in (".pxd", ".pyx")
    try:
        path.write_text(text.replace(change.before, change.after))
        if compiled:
            build(copy)
        return failing(copy)
    finally:
        path.write_text(text)
        if compiled:
            os.utime(path)  # Newer than what was built of the change.


def build(copy: Path) -> None:
    """Build the hot path of a copy."""
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=copy, env=os.environ | FAST, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def failing(copy: Path) -> list[str]:
    """The tests that fail in a copy; the interpreter's own death is one, too."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=no",
        "-rfE",
        "-p",
        "no:cacheprovider",
        f"--maxfail={NAMED}",
        *TESTS,
    ]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        return ["a test that did not end in five minutes"]
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return found or ([f"the interpreter's end ({done.returncode})"] if done.returncode else [])


if __name__ == "__main__":
    raise SystemExit(main())
