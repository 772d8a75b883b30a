"""What is missing to build the hot path is said in one line, with what brings it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def built(before: str) -> subprocess.CompletedProcess[str]:
    """A build that ends before it compiles anything, nothing being on the path; `before` is run first."""
    run = "sys.argv = ['setup.py', 'build_ext']; runpy.run_path('setup.py', run_name='__main__')"
    code = f"import runpy, sys, sysconfig\n{before}\n{run}"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(find_spec("ziglang") is not None, reason="zig's compiler is installed")
def test_without_a_compiler() -> None:
    """It names the package of the system's, and the one of the package index."""
    done = built("")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("no C compiler: ") and "apt install gcc" in line and "ziglang" in line


def test_without_python_s_headers() -> None:
    """It names the file that is not there, and Debian's package."""
    done = built("sysconfig.get_paths = lambda: {'include': '/nowhere'}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert line.startswith("no /nowhere/Python.h: ") and f"apt install python{version}-dev" in line
