"""`tocsin explain`: what a rule has cost, and what it sees."""

import argparse
import json
import sys

from service.commands import NO, YES, Commands, asking, of_series
from service.config.settings import SettingsError


def add(commands: Commands) -> None:
    """Add the command."""
    explain = commands.add_parser("explain", help="say what a rule has cost, whether it keeps its budget, what it sees")
    explain.add_argument("rule", metavar="RULE", help="name of a rule of the running daemon")
    of_series(explain)
    asking(explain)
    explain.set_defaults(run=_explain)


def _explain(given: argparse.Namespace) -> int:
    from service import ask
    from service.reports.explain import worded

    try:
        explained = ask.explain(ask.address(given.at), given.rule, dict(given.series))
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return NO
    print(json.dumps(explained) if given.json else "\n".join(worded(explained)))
    return YES
