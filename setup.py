"""Builds the hot path. Everything else about the package is in pyproject.toml."""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

KERNELS = Path("service/ingest/kernel")
MODULES = [*sorted(KERNELS.glob("*.pyx")), *sorted(Path("detectors/core").glob("*.pyx"))]
INCLUDED = [str(path) for end in ("pxd", "h") for path in sorted(KERNELS.glob(f"*.{end}"))]
"""What any module may include, even by way of another one: a change of it compiles all of them anew."""
FLAGS = ["-O3", "-g0", "-fno-strict-aliasing", "-ffp-contract=off"]
"""The last: a fused multiply-add rounds otherwise than numpy and than other processors do."""
DIRECTIVES = {
    "language_level": 3, "cdivision": True, "boundscheck": False, "wraparound": False, "initializedcheck": False,
    "embedsignature": False,
}  # fmt: skip
ABI = "0x030B0000"
"""One build serves Python 3.11 and later."""


def compiler() -> list[str] | None:
    """The C compiler: the machine's own, else zig's from the package index; None to leave it to the user's CC."""
    if "CC" in os.environ:
        return None
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]
    raise SystemExit("no C compiler: install one (on Debian: apt install gcc), or `pip install ziglang`, or set CC")


def check_headers() -> None:
    """Say in one line what is missing where Python's headers are not there."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not headers.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SystemExit(f"no {headers}: install Python's headers (on Debian: apt install python{version}-dev)")


def use(command: list[str] | None) -> None:
    """Have setuptools compile and link with this command."""
    if command is not None:
        os.environ["CC"] = " ".join(command)
        os.environ["LDSHARED"] = " ".join([*command, "-shared"])
        if sys.platform == "darwin":
            os.environ["LDSHARED"] = " ".join([*command, "-bundle", "-undefined", "dynamic_lookup"])


if __name__ == "__main__":
    building = any(name in sys.argv for name in ("build", "build_ext", "bdist_wheel", "editable_wheel"))
    if building:
        check_headers()
        use(compiler())
    extra = os.environ.get("TOCSIN_CFLAGS", "").split()
    extensions = building * [
        Extension(
            ".".join(path.with_suffix("").parts), [str(path)], include_dirs=[str(KERNELS)],
            extra_compile_args=FLAGS + extra, extra_link_args=extra,
            depends=["setup.py", *INCLUDED],
            define_macros=[("Py_LIMITED_API", ABI)], py_limited_api=True,
        )
        for path in MODULES
    ]  # fmt: skip
    setup(
        ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, build_dir="build/c", include_path=["."]),
        options={"bdist_wheel": {"py_limited_api": "cp311"}, "build_ext": {"parallel": True}},
    )
