"""`tocsin check`: everything that is wrong with rule files."""

import argparse
import json
import sys
from pathlib import Path

from alertrules.parse import PACKS, RuleErrors, load
from service.commands import NO, YES, Commands
from service.notifiers.notifier import words


def add(commands: Commands) -> None:
    """Add the command."""
    check = commands.add_parser("check", help="check rule files and say everything that is wrong with them")
    check.add_argument("files", nargs="*", type=Path, metavar="FILE", help="files or directories; default: the packs")
    check.add_argument("--json", action="store_true", help="one JSON object on standard output")
    check.set_defaults(run=_check)


def _check(given: argparse.Namespace) -> int:
    try:
        rules = load(given.files or [PACKS], words())
    except RuleErrors as errors:
        if given.json:
            print(json.dumps({"ok": False, "problems": [str(problem) for problem in errors.problems]}))
        else:
            print(errors, file=sys.stderr)
        return NO
    if given.json:
        print(json.dumps({"ok": True, "rules": [rule.name for rule in rules.rules]}))
    else:
        for rule in rules.rules:
            budget = "no budget" if rule.budget_per_week is None else f"{rule.budget_per_week:g} false pages a week"
            print(f"{rule.name}: {rule.detector} by {', '.join(rule.by) or 'nothing'}, {budget}")
    return YES
