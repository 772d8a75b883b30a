"""The commands of `tocsin`, one a file. Each has `add`, which makes its parser and names what runs it."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

YES, NO, WRONG_USE = 0, 1, 2
"""Exit statuses: it is so or it was done; it is not; what was asked makes no sense."""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def said(error: Exception) -> str:
    """Put an error in one line for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error.args[0]) if error.args else type(error).__name__


def asking(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that asks a running daemon."""
    parser.add_argument("--at", metavar="HOST:PORT", help="the daemon's web address; default: TOCSIN_WEB__LISTEN's")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def shown(
    given: argparse.Namespace, asked: Callable[[str], dict[str, Any]], words: Callable[[Any], Iterable[str]]
) -> int:
    """Ask the daemon, and print what it says, in words or as its JSON: the exit status.

    asked  asks the daemon at an address
    """
    from service import ask
    from service.config.settings import SettingsError

    try:
        found = asked(ask.address(given.at))
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return NO
    print(json.dumps(found) if given.json else "\n".join(words(found)))
    return YES


def told(given: argparse.Namespace, tell: Callable[[str, str], str]) -> int:
    """Tell the daemon something, and print its answer: the exit status.

    tell  tells it to the daemon at an address, with its token
    """
    from service import ask

    def answered(at: str) -> dict[str, Any]:
        return {"ok": True, "message": tell(at, ask.token())}

    return shown(given, answered, lambda found: [found["message"]])


def of_series(parser: argparse.ArgumentParser) -> None:
    """Add `--series`, as pairs of a label and its value."""
    parser.add_argument(
        "--series", type=label, action="append", default=[], metavar="LABEL=VALUE", help="those with this label"
    )


def label(text: str) -> tuple[str, str]:
    """Read a label and its value. Raises ArgumentTypeError."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f'"{text}" is not LABEL=VALUE; write agent=support')
    return name, value
