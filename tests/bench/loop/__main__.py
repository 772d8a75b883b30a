"""Closing the loop, part by part, on a simulated fleet with known truth.

    python -m tests.bench.loop PART [options of the part]

A part is a file beside this one, with `add` for its options and `run`, which prints its figures and returns the exit
status: 0 where all that it promises holds.
"""

import argparse
import importlib
import pkgutil

from tests.bench import loop


def main() -> int:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, metavar="PART")
    for found in pkgutil.iter_modules(loop.__path__):
        if not found.name.startswith("_"):
            module = importlib.import_module(f"{loop.__name__}.{found.name}")
            if hasattr(module, "add"):
                own = parts.add_parser(
                    found.name, help=(module.__doc__ or "").splitlines()[0], description=module.__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter,
                )  # fmt: skip
                module.add(own)
                own.set_defaults(run=module.run)
    given = parser.parse_args()
    status: int = given.run(given)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
