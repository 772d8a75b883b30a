"""`tocsin ack`: somebody looks into an incident, so nobody else is woken."""

import argparse
import getpass

from service.commands import Commands, asking, told


def add(commands: Commands) -> None:
    """Add the command."""
    ack = commands.add_parser(
        "ack",
        help="acknowledge an incident: it is not escalated any more",
        description="Tells the running daemon that somebody looks into an incident. The next notice says who, and so "
        "does the API.",
    )
    ack.add_argument("alert", metavar="ID", help="the id that the page shows, at least its first 8 digits")
    ack.add_argument("--by", help="who; default: you")
    asking(ack)
    ack.set_defaults(run=_ack)


def _ack(given: argparse.Namespace) -> int:
    from service import ask

    said = {"alert": given.alert, "by": given.by or _you()}
    return told(given, lambda at, token: ask.acknowledge(at, said, token))


def _you() -> str:
    """Who runs this, as the system calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A user id without a name, as in a container.
        return "somebody"
