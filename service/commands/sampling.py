"""`tocsin sampling`: which traces are worth keeping now, in the words of those who sample."""

import argparse
import json
import sys

from alertrules.wording import utc
from detectors.core.columns import SECOND_NS
from service.commands import NO, YES, Commands, asking
from service.config.settings import SettingsError


def add(commands: Commands) -> None:
    """Add the command."""
    sampling = commands.add_parser(
        "sampling",
        help="say which traces are worth keeping now: what is needed, or the Collector's tail sampling as YAML",
        description="Without more, what is needed now and why. `collector` prints the policies of the Collector's "
        "tail_sampling processor, to be merged into its configuration: otelcol --config collector.yaml --config THIS. "
        "Both ask the running daemon; with --alone, `collector` prints what the policy of TOCSIN_KEEP says without "
        "one, as if nothing were needed. Exit status: 0 said, 1 no daemon or no valid policy, 2 wrong use.",
    )
    sampling.add_argument("what", nargs="?", choices=("needs", "collector"), default="needs", help="default: needs")
    sampling.add_argument("--alone", action="store_true", help="from the policy alone; asks no daemon")
    asking(sampling)
    sampling.set_defaults(run=_sampling)


def _sampling(given: argparse.Namespace) -> int:
    from service import ask
    from service.config import settings
    from service.sampling.collector import rendered
    from service.sampling.needs import NOTHING_NEEDED
    from service.sampling.policy import SHIPPED

    try:
        if given.what == "collector" and given.alone:
            print(rendered(settings.from_environment().keep or SHIPPED, NOTHING_NEEDED), end="")
        elif given.what == "collector":
            print(ask.collector(ask.address(given.at)), end="")
        else:
            found = ask.sampling(ask.address(given.at))
            print(json.dumps(found) if given.json else "\n".join(_worded(found["needs"])))
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return NO
    return YES


def _worded(needs: list[dict[str, object]]) -> list[str]:
    """A line for each agent and reason."""
    lines = []
    for need in needs:
        until = f", until {utc(int(float(str(need['until_s'])) * SECOND_NS))}" if need["until_s"] else ""
        lines.append(f"{need['agent'] or 'all agents'}: {need['reason']}, {need['why']}{until}")
    return lines or ["nothing is needed beside the policy: no open alert, nothing new, no deploy"]
