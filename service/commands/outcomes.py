"""`tocsin outcomes`: what came of sessions, by the day on which they ended."""

import argparse

from service.commands import Commands, asking, shown


def add(commands: Commands) -> None:
    """Add the command."""
    outcomes = commands.add_parser(
        "outcomes",
        help="say what came of sessions, by the day on which they ended",
        description="Asks the running daemon's record of sessions. By agent and version, and by day (UTC): how many "
        "sessions ended, of how many it is known how, and how many of these badly, with a 95% interval. An outcome "
        "that comes a week later counts on its session's day. It is shown and pages nobody: days differ by themselves.",
    )
    outcomes.add_argument("--agent", default="", metavar="NAME", help="of this agent alone")
    said = "by this late outcome alone; default: any, else what the session said itself"
    outcomes.add_argument("--outcome", default="", metavar="NAME", help=said)
    outcomes.add_argument("--days", type=float, default=14.0, metavar="N", help="of the last N days; default: 14")
    asking(outcomes)
    outcomes.set_defaults(run=_outcomes)


def _outcomes(given: argparse.Namespace) -> int:
    from service import ask
    from service.ledger.by_day_words import day_lines

    wanted = {"agent": given.agent, "outcome": given.outcome, "days": given.days}
    return shown(given, lambda at: ask.outcomes(at, wanted), day_lines)
