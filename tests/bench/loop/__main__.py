"""Figures of the loop that leads from outcomes back to agents, part by part.

    python -m tests.bench.loop [PART …]

Without parts all of them. A part is a file beside this one, with a `run` that yields lines.
"""

import argparse
import importlib
import pkgutil

from tests.bench import loop


def main() -> None:
    """Run the parts, and print what they say."""
    parts = [found.name for found in pkgutil.iter_modules(loop.__path__) if not found.name.startswith("_")]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loop", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(parts)}; default: all")
    given = parser.parse_args().part or parts
    if unknown := set(given) - set(parts):
        parser.error(f"{', '.join(sorted(unknown))}: no such part; there are {', '.join(parts)}")
    for part in given:
        for line in importlib.import_module(f"{loop.__name__}.{part}").run():
            print(f"{part}: {line}", flush=True)


if __name__ == "__main__":
    main()
