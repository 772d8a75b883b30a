"""`tocsin compare`: a new version of an agent beside an old one, for a person or a pipeline."""

import argparse
import json
import sys

from service.commands import NO, WRONG_USE, YES, Commands, asking
from service.config.settings import SettingsError

TOO_LITTLE = 3
"""The exit status where nobody can tell yet: no success, so that a pipeline does not go on for want of traffic."""


def add(commands: Commands) -> None:
    """Add the command."""
    compare = commands.add_parser(
        "compare",
        help="say whether a new version, model or prompt of an agent is worse than the one beside it",
        description="Asks the running daemon, whose rules with detector: versions compare what runs on the same "
        "minutes: failures, ends and durations of calls; failures, outcomes, durations and costs of sessions. The "
        "answer holds whenever one asks, and however often: of releases that change nothing at most one in twenty is "
        "ever called worse. Exit status: 0 no difference that matters, 1 worse, 2 wrong use, no daemon, or not "
        "compared, 3 too little traffic to tell. A prompt is named with its version, as 'greeting v3'; of models that "
        "answer behind a name, those that answered.",
    )
    compare.add_argument("agent", metavar="AGENT")
    compare.add_argument(
        "old",
        metavar="OLD",
        help="what ran before: a version, a model, a prompt and its version, or a model that answered",
    )
    compare.add_argument("new", metavar="NEW", help="the one that came beside it")
    compare.add_argument("--tenant", help="of this tenant alone")
    asking(compare)
    compare.set_defaults(run=_compare)


def _compare(given: argparse.Namespace) -> int:
    from service import ask
    from service.reports.side_by_side import SAME, WORSE, worded

    asked = {"agent": given.agent, "old": given.old, "new": given.new, "tenant": given.tenant}
    try:
        found = ask.compare(ask.address(given.at), {name: value for name, value in asked.items() if value is not None})
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    print(json.dumps(found) if given.json else "\n".join(worded(found)))
    return {SAME: YES, WORSE: NO}.get(found["verdict"], TOO_LITTLE)
