"""`tocsin change`: tell of a deploy, so that a page which comes soon after names it."""

import argparse

from service.commands import Commands, asking, of_series, told


def add(commands: Commands) -> None:
    """Add the command."""
    change = commands.add_parser(
        "change",
        help="tell of a deploy or another change; a page that comes soon after names it",
        description="Tells the running daemon that something was changed, as a pipeline does after a deploy. A page "
        "whose change began within the hour after it says so.",
    )
    change.add_argument("summary", metavar="SUMMARY", help='what changed, as "support-agent v2.4"')
    change.add_argument("--time", metavar="TIME", help="when, as 2026-01-31T18:00Z; default: now")
    change.add_argument("--link", help="where more stands")
    change.add_argument("--by", help="who")
    of_series(change)
    asking(change)
    change.set_defaults(run=_change)


def _change(given: argparse.Namespace) -> int:
    from service import ask

    said = {
        "summary": given.summary,
        "labels": dict(given.series),
        "at": given.time,
        "link": given.link,
        "by": given.by,
    }
    return told(given, lambda at, token: ask.change(at, {name: value for name, value in said.items() if value}, token))
