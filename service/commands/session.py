"""`tocsin session`: all that is known of one session; with `--audit`, who names sessions at all."""

import argparse
import sys

from service.commands import WRONG_USE, Commands, asking, shown


def add(commands: Commands) -> None:
    """Add the command."""
    session = commands.add_parser(
        "session",
        help="say what is known of one session, by its id or a trace's; or with --audit who names sessions",
        usage="tocsin session ID | --audit [--days N]",
        description="Asks the running daemon's record: times, calls, tokens, cost, signals, outcome and what came of "
        "it later. A session is recorded once it has fallen silent. One that no span names is found by the id "
        "of its trace.",
    )
    session.add_argument("session", nargs="?", metavar="ID", help="the session's id, or the 32 digits of a trace's")
    session.add_argument(
        "--audit", action="store_true", help="by agent: how many sessions have a name, since when none"
    )
    session.add_argument("--days", type=float, default=7.0, metavar="N", help="of --audit: the last N days; default: 7")
    asking(session)
    session.set_defaults(run=_session)


def _session(given: argparse.Namespace) -> int:
    from service import ask
    from service.ledger.session_words import audit_lines, session_lines

    if bool(given.session) == given.audit:
        print("which session? write tocsin session ID, or tocsin session --audit", file=sys.stderr)
        return WRONG_USE
    if given.audit:
        return shown(given, lambda at: ask.sessions(at, given.days), audit_lines)
    return shown(given, lambda at: ask.session(at, given.session), lambda found: session_lines(given.session, found))
