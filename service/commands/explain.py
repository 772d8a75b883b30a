"""`tocsin explain`: what a rule has cost, and what it sees."""

import argparse

from service.commands import Commands, asking, of_series, shown


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

    return shown(given, lambda at: ask.explain(at, given.rule, dict(given.series)), worded)
