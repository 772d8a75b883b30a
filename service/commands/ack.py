"""`tocsin ack`: somebody looks into an incident, so nobody else is woken."""

import argparse
import getpass
import json
import sys

from service.commands import NO, YES, Commands, asking
from service.config.settings import SettingsError


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

    try:
        by = given.by or _you()
        answer = ask.acknowledge(ask.address(given.at), {"alert": given.alert, "by": by}, ask.token())
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return NO
    print(json.dumps({"ok": True, "message": answer}) if given.json else answer)
    return YES


def _you() -> str:
    """Who runs this, as the system calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A user id without a name, as in a container.
        return "somebody"
