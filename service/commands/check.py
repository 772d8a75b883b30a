"""`tocsin check`: everything that is wrong with rule files, or odd about them."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from alertrules.checked import checked
from alertrules.parse import PACKS
from alertrules.rules import Rule
from service.commands import NO, WRONG_USE, YES, Commands
from service.notifiers.notifier import words


def add(commands: Commands) -> None:
    """Add the command."""
    check = commands.add_parser(
        "check",
        help="check rule files and say everything that is wrong with them",
        description="Says what is wrong with rule files (exit status 1), and what is odd about them: a rule that can "
        "never page is wrong, one that may not do what was meant is odd. With --at, a running daemon says what its "
        "telemetry shows of the same rules: selections that match nothing, changes too small to be seen, budgets not "
        "kept.",
    )
    check.add_argument("files", nargs="*", type=Path, metavar="FILE", help="files or directories; default: the packs")
    check.add_argument("--at", metavar="HOST:PORT", help="ask the daemon with this web address, too")
    check.add_argument("--strict", action="store_true", help="exit status 1 for what is odd, too")
    check.add_argument("--json", action="store_true", help="one JSON object on standard output")
    check.set_defaults(run=_check)


def _check(given: argparse.Namespace) -> int:
    found = checked(given.files or [PACKS], words())
    problems, warnings = list(map(str, found.problems)), list(map(str, found.warnings))
    rules = found.rules.rules if found.rules else ()
    if given.at and found.rules:
        from service import ask
        from service.reports.seen import seen

        def explain(rule: str) -> dict[str, Any] | None:
            try:
                return ask.explain(given.at, rule, {})
            except ask.UnknownError:
                return None

        try:
            warnings += map(str, seen(found.rules, explain))
        except ask.AskError as error:
            print(error, file=sys.stderr)
            return WRONG_USE
    ok = not problems and not (given.strict and warnings)
    if given.json:
        told = {"ok": ok, "problems": problems, "warnings": warnings, "rules": [rule.name for rule in rules]}
        print(json.dumps(told))
        return YES if ok else NO
    for line in problems:
        print(line, file=sys.stderr)
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    if not problems:
        print("\n".join(map(_line, rules)))
    return YES if ok else NO


def _line(rule: Rule) -> str:
    budget = "no budget" if rule.budget_per_week is None else f"{rule.budget_per_week:g} false pages a week"
    return f"{rule.name}: {rule.detector} by {', '.join(rule.by) or 'nothing'}, {budget}"
