"""`tocsin backtest`: which pages a budget would have sent over a recorded series."""

import argparse
import json
import sys
from pathlib import Path

from alertrules.quantities import budget_per_week
from service.commands import WRONG_USE, YES, Commands, said


def add(commands: Commands) -> None:
    """Add the command."""
    backtest = commands.add_parser("backtest", help="say which pages a budget would have sent over a recorded series")
    backtest.add_argument(
        "--series", required=True, type=Path, metavar="FILE", help="CSV with the columns timestamp, value, maybe label"
    )
    backtest.add_argument("--budget", required=True, type=_budget, help="false pages it may cost, such as 1/week")
    backtest.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    backtest.set_defaults(run=_backtest)


def _budget(text: str) -> float:
    try:
        return budget_per_week(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _backtest(given: argparse.Namespace) -> int:
    from service.backtest import SeriesError, backtest, lines, read, worded

    try:
        result = backtest(read(given.series), given.budget)
    except (SeriesError, OSError) as error:
        print(said(error), file=sys.stderr)
        return WRONG_USE
    for line in lines(result):
        print(json.dumps(line) if given.json else worded(line))
    return YES
