"""The `tocsin` command: a command is a file of `service/commands/`."""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence

from service import commands
from service.commands import NO


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 yes, 1 no, 2 wrong use."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return NO
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tocsin", description="Pages on-call when AI agents really change.")
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    for found in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{found.name}").add(added)
    return parser
