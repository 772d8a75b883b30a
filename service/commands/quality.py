"""`tocsin quality`: what pages were worth, by rule or team."""

import argparse

from service.commands import Commands, asking, shown


def add(commands: Commands) -> None:
    """Add the command."""
    quality = commands.add_parser(
        "quality",
        help="say what pages were worth: precision, budget spent, how soon they came, and what nobody looked at",
        description="Asks the running daemon what people said of its pages (tocsin mark, tocsin ack, buttons in Slack, "
        "PagerDuty's webhooks). A page of which nobody said anything is not taken for a good one. Of rules that never "
        "paged it says what they could have seen, and of the noisiest series what to change.",
    )
    quality.add_argument("--weeks", type=float, default=4.0, help="how far back (default: 4)")
    quality.add_argument("--by", default="rule", metavar="LABEL", help="by rule, or by this label of rules: team")
    asking(quality)
    quality.set_defaults(run=_quality)


def _quality(given: argparse.Namespace) -> int:
    from service import ask
    from service.reports.quality import worded

    return shown(given, lambda at: ask.quality(at, {"weeks": given.weeks, "by": given.by}), worded)
