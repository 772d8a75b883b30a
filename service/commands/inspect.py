"""`tocsin inspect`: what is read in captured OTLP bodies."""

import argparse
import sys
from pathlib import Path

from alertrules.parse import PACKS, RuleErrors, load
from service.commands import WRONG_USE, Commands
from service.config import settings as settings_module
from service.config.settings import SettingsError
from service.notifiers.notifier import words


def add(commands: Commands) -> None:
    """Add the command."""
    inspect = commands.add_parser("inspect", help="say what Tocsin reads in captured OTLP bodies")
    inspect.add_argument("files", nargs="+", metavar="FILE", help="bodies, protobuf or JSON, gzip or not")
    inspect.add_argument("--json", action="store_true", help="one JSON object on standard output")
    inspect.add_argument(
        "--signal", choices=("traces", "metrics", "logs"), default="traces", help="what the files hold"
    )
    inspect.add_argument(
        "--rules", action="append", type=Path, metavar="FILE",
        help="rule file or directory whose classes of outcomes hold, may be given again; default: TOCSIN_RULES",
    )  # fmt: skip
    inspect.set_defaults(run=_inspect)


def _inspect(given: argparse.Namespace) -> int:
    from service.replay.inspect import main as inspect

    try:
        paths = given.rules or list(map(Path, settings_module.from_environment().rules))
        outcomes = load(paths or [PACKS], words()).outcomes
    except (SettingsError, RuleErrors) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    return inspect(given.files, given.json, given.signal, outcomes)
