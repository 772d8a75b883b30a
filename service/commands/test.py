"""`tocsin test`: unit tests of rules."""

import argparse
import json
import os
import sys
from pathlib import Path

from service.commands import NO, WRONG_USE, YES, Commands


def add(commands: Commands) -> None:
    """Add the command."""
    test = commands.add_parser(
        "test",
        help="run unit tests of rules: traffic in, pages out",
        description="Runs the tests of files named NAME.test.yaml, and of directories all such files. Each describes "
        "traffic and says which pages it expects. Exit status 1 if one of them does not hold.",
    )
    test.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files of tests, or directories with some")
    test.add_argument("--name", metavar="TEXT", default="", help="only tests whose name has this text")
    test.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count() or 1, help="how many run at a time")
    test.add_argument("--json", action="store_true", help="one JSON object on standard output")
    test.set_defaults(run=_test)


def _test(given: argparse.Namespace) -> int:
    from alertrules.parse import RuleErrors
    from service.rule_tests.run import Result, run, worded

    results: list[Result] = []
    try:
        for result in run(given.files, given.name, max(1, given.jobs)):
            results.append(result)
            if not given.json:
                print(worded(result), flush=True)
    except RuleErrors as errors:
        if given.json:
            print(json.dumps({"ok": False, "problems": [str(problem) for problem in errors.problems]}))
        else:
            print(errors, file=sys.stderr)
        return WRONG_USE
    failed = sum(not result.ok for result in results)
    if given.json:
        print(json.dumps({"ok": not failed, "tests": [result.shown() for result in results]}))
    else:
        print(f"{len(results) - failed} of {len(results)} tests hold")
    return NO if failed else YES
