"""The hot path under the address and the undefined-behaviour sanitizer, over fuzz, captures and odd streams.

    python -m tests.sanitize [BODIES [STREAMS]]

It is built in a copy of the repository, below .cache/sanitized, and anew only where something changed. Prints what a
sanitizer found, and is exit 1 then. It needs gcc or clang with its sanitizers' libraries.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPY = ROOT / ".cache" / "sanitized"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".cache", ".hypothesis", ".mypy_cache", ".ruff_cache", "*.so", "tocsin-data"
)
"""What a build needs none of. The C that Cython wrote goes along: only what has changed since is written anew."""
LIBRARIES = ("libasan.so", "libubsan.so")
FLAGS = "-O0 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"
WATCHED = {
    "ASAN_OPTIONS": "detect_leaks=0:hard_rss_limit_mb=4000", "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
}  # fmt: skip


def libraries() -> list[str]:
    """The sanitizers' libraries of this machine's compiler; empty where it has none."""
    if shutil.which("gcc") is None:
        return []
    found = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in LIBRARIES
    ]
    return found if all(Path(each).is_absolute() for each in found) else []


def sources() -> str:
    """What stands for all that is compiled."""
    found = hashlib.sha256(FLAGS.encode())
    for room in ("service", "detectors"):
        for path in sorted((ROOT / room).rglob("*.p[yx][xd]")):
            found.update(path.read_bytes())
    for path in (ROOT / "setup.py", ROOT / "service/ingest/kernel/kernel.h"):
        found.update(path.read_bytes())
    return found.hexdigest()


def build() -> None:
    """The hot path with sanitizers, in the copy."""
    built_of, wanted = COPY / "built-of", sources()
    if not built_of.exists() or built_of.read_text() != wanted:
        shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT, COPY, ignore=LEFT_OUT, dirs_exist_ok=True)
    if built_of.exists():
        return
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    given = os.environ | {"CC": "gcc", "TOCSIN_CFLAGS": FLAGS}
    done = subprocess.run(command, cwd=COPY, env=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cannot build with sanitizers: {done.stderr[-2000:]}")
    built_of.write_text(wanted)


def watched(bodies: int, streams: int) -> subprocess.CompletedProcess[str]:
    """Run the workload over the build with sanitizers."""
    given = os.environ | WATCHED | {"LD_PRELOAD": " ".join(libraries())}
    command = [sys.executable, "-m", "tests.sanitize.workload", str(bodies), str(streams)]
    return subprocess.run(command, cwd=COPY, env=given, capture_output=True, text=True, check=False)


def main() -> int:
    """Build, run, and print what was found."""
    bodies, streams = [*map(int, sys.argv[1:]), 20_000, 400][:2] if len(sys.argv) > 1 else (20_000, 400)
    if not libraries():
        print("no gcc with its sanitizers' libraries here (on Debian: apt install gcc)")
        return 1
    build()
    done = watched(bodies, streams)
    print(done.stderr[-6000:] or f"nothing found in {bodies} bodies, the captures, and {streams} streams")
    return int(done.returncode != 0)


if __name__ == "__main__":
    raise SystemExit(main())
