"""`tocsin mark`: what a page was, or what to expect of series."""

import argparse

from alertrules.marks import Kind
from service.commands import Commands, asking, of_series, told


def add(commands: Commands) -> None:
    """Add the command."""
    mark = commands.add_parser(
        "mark",
        help="say what a page was: incident, noise, expected or new_normal",
        description="Tells the running daemon what a page was, or what to expect of series. `noise` raises the series' "
        "threshold for some weeks; `expected` neither judges nor learns for as long; `new_normal` learns afresh.",
    )
    mark.add_argument("mark", choices=[kind.value for kind in Kind])
    mark.add_argument("--alert", metavar="ID", help="the page's id, at least its first 8 digits")
    mark.add_argument("--rule", metavar="RULE", help="instead of an alert: series of this rule")
    mark.add_argument("--for", metavar="DURATION", dest="length", help="how long it is expected, such as 2h")
    mark.add_argument("--from", metavar="TIME", dest="begins", help="when that begins, as 2026-01-31T18:00Z; else now")
    mark.add_argument("--by", default="", help="who says so")
    mark.add_argument("--note", default="", help="why")
    of_series(mark)
    asking(mark)
    mark.set_defaults(run=_mark)


def _mark(given: argparse.Namespace) -> int:
    from service import ask

    said = {"mark": given.mark, "alert": given.alert, "rule": given.rule, "series": dict(given.series)}
    said |= {"for": given.length, "from": given.begins, "by": given.by, "note": given.note}
    return told(given, lambda at, token: ask.mark(at, {name: value for name, value in said.items() if value}, token))
