"""`tocsin cohorts`: what foretold bad ends of sessions."""

import argparse

from service.commands import Commands, asking, shown


def add(commands: Commands) -> None:
    """Add the command."""
    cohorts = commands.add_parser(
        "cohorts",
        help="say which signs foretold that sessions ended badly",
        description="Asks the running daemon's record of sessions. By agent, and by agent, version, model and tenant: "
        "how often sessions with a sign (a failed tool, an empty retrieval, a high cost) ended badly, and without it. "
        "Of what is told at most a tenth is chance, on average.",
    )
    cohorts.add_argument("--agent", default="", metavar="NAME", help="of this agent alone")
    cohorts.add_argument("--outcome", default="", metavar="NAME", help="by this late outcome alone; default: any, else "
                         "what the session said itself")  # fmt: skip
    cohorts.add_argument("--days", type=float, default=30.0, metavar="N", help="of the last N days; default: 30")
    asking(cohorts)
    cohorts.set_defaults(run=_cohorts)


def _cohorts(given: argparse.Namespace) -> int:
    from service import ask
    from service.ledger.cohort_words import cohort_lines

    wanted = {"agent": given.agent, "outcome": given.outcome, "days": given.days}
    return shown(given, lambda at: ask.cohorts(at, wanted), cohort_lines)
