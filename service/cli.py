"""The `tocsin` command: run, demo, check, page, inspect, backtest, explain, mark."""

import argparse
import asyncio
import json
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alertrules.marks import Kind
from alertrules.parse import PACKS, RuleErrors, load
from service import settings as settings_module
from service.notifiers.notifier import words
from service.settings import SettingsError, table

if TYPE_CHECKING:
    from service.daemon import Daemon

YES, NO, WRONG_USE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 yes, 1 no, 2 wrong use."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return NO
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tocsin", description="Pages on-call when AI agents really change.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    lines = [f"  {name}\n      {meaning} (default: {default})" for name, default, meaning in table()]
    run = commands.add_parser(
        "run",
        help="read telemetry, judge it, page",
        description="Reads OTLP over HTTP, and from Kafka if told where it is; judges by the rules; pages.",
        epilog="settings, from the environment (a secret also from the file that …_FILE names):\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.set_defaults(run=_run)
    demo = commands.add_parser("demo", help="watch four incidents in a simulated fleet turn into four pages")
    demo.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    demo.set_defaults(run=_demo)
    check = commands.add_parser("check", help="check rule files and say everything that is wrong with them")
    check.add_argument("files", nargs="*", type=Path, metavar="FILE", help="files or directories; default: the packs")
    check.add_argument("--json", action="store_true", help="one JSON object on standard output")
    check.set_defaults(run=_check)
    page = commands.add_parser(
        "page",
        help="send a marked test page to every destination",
        description="Sends one test page to each destination that the settings and rule files name, and says what each "
        "answered. Exit status 1 if one of them did not take it.",
    )
    page.add_argument("--test", action="store_true", required=True, help="the only kind of page that is made by hand")
    page.add_argument("--receiver", metavar="NAME", help="of the rule files; default: the one that the route names")
    page.add_argument("--json", action="store_true", help="one JSON object on standard output")
    page.set_defaults(run=_page)
    inspect = commands.add_parser("inspect", help="say what Tocsin reads in captured OTLP bodies")
    inspect.add_argument("files", nargs="+", metavar="FILE", help="bodies, protobuf or JSON, gzip or not")
    inspect.add_argument("--json", action="store_true", help="one JSON object on standard output")
    inspect.add_argument(
        "--signal", choices=("traces", "metrics", "logs"), default="traces", help="what the files hold"
    )
    inspect.add_argument(
        "--rules", action="append", type=Path, metavar="FILE",
        help="rule file or directory whose classes of outcomes hold, may be given again; default: TOCSIN_RULES",
    )  # fmt: skip
    inspect.set_defaults(run=_inspect)
    backtest = commands.add_parser("backtest", help="say which pages a budget would have sent over a recorded series")
    backtest.add_argument(
        "--series", required=True, type=Path, metavar="FILE", help="CSV with the columns timestamp, value, maybe label"
    )
    backtest.add_argument("--budget", required=True, type=_budget, help="false pages it may cost, such as 1/week")
    backtest.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    backtest.set_defaults(run=_backtest)
    _add_questions(commands)
    return parser


def _add_questions(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What is asked of a daemon that runs."""
    explain = commands.add_parser("explain", help="say what a rule has cost, whether it keeps its budget, what it sees")
    explain.add_argument("rule", metavar="RULE", help="name of a rule of the running daemon")
    mark = commands.add_parser(
        "mark",
        help="say what a page was: incident, noise, expected or new_normal",
        description="Tells the running daemon what a page was, or what to expect of series. `noise` raises the series' "
        "threshold for some weeks; `expected` neither judges nor learns for as long; `new_normal` learns afresh.",
    )
    mark.add_argument("mark", choices=[kind.value for kind in Kind])
    mark.add_argument("--alert", metavar="ID", help="the page's id, at least its first 8 digits")
    mark.add_argument("--rule", metavar="RULE", help="instead of an alert: series of this rule")
    mark.add_argument("--for", metavar="DURATION", dest="length", help="how long it is expected, such as 2h")
    mark.add_argument("--from", metavar="TIME", dest="begins", help="when that begins, as 2026-01-31T18:00Z; else now")
    mark.add_argument("--by", default="", help="who says so")
    mark.add_argument("--note", default="", help="why")
    for asks in (explain, mark):
        asks.add_argument(
            "--series", type=_label, action="append", default=[], metavar="LABEL=VALUE", help="those with this label"
        )
        asks.add_argument("--at", metavar="HOST:PORT", help="the daemon's web address; default: TOCSIN_WEB__LISTEN's")
        asks.add_argument("--json", action="store_true", help="one JSON object on standard output")
    explain.set_defaults(run=_explain)
    mark.set_defaults(run=_mark)


def _run(given: argparse.Namespace) -> int:
    from service.daemon import WALL, Daemon
    from service.rule_files import read, told
    from service.seldom import Seldom
    from service.sources.kafka_security import Security

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # A line a second while brokers are away; ours say it.
    for flooded in ("asyncio", "uvicorn.error"):
        logging.getLogger(flooded).addFilter(Seldom(time.monotonic))
    try:
        settings = settings_module.from_environment()
        rules = read(settings)
        told(rules, settings)
        Security(settings.kafka)
    except (SettingsError, ValueError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    problems = asyncio.run(_serve(lambda: Daemon(settings, rules, WALL, lambda line: print(line, flush=True))))
    for problem in problems:
        print(f"tocsin: {problem}", file=sys.stderr)
    return NO if problems else YES


async def _serve(make: "Callable[[], Daemon]") -> list[str]:
    """Serve until SIGTERM or SIGINT; what kept it from that, where no traceback would make it clearer."""
    from aiokafka.errors import KafkaError

    from service.store.sqlite import StoreError

    problems: list[str] = []
    try:
        daemon = make()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.stop)
        loop.add_signal_handler(signal.SIGHUP, daemon.rule_files.ask)
        await daemon.run()
    except* (StoreError, OSError, KafkaError, sqlite3.DatabaseError) as errors:
        problems = [_said(error) for error in _leaves(errors)]
    return problems


def _said(error: Exception) -> str:
    """One line for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error.args[0]) if error.args else type(error).__name__


def _leaves(errors: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in errors.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _demo(given: argparse.Namespace) -> int:
    from service.demo.show import main as show

    return show(given.json)


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


def _page(given: argparse.Namespace) -> int:
    from service import trial
    from service.notifiers.destination import destinations
    from service.notifiers.request import Delivered

    try:
        settings = settings_module.from_environment()
        rules = load(list(map(Path, settings.rules)) or [PACKS], words())
        receiver = rules.receiver(given.receiver)
        answers = trial.send(destinations(receiver, settings.notifiers), receiver.name)
    except (SettingsError, RuleErrors, ValueError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    taken = [isinstance(outcome, Delivered) for _, outcome in answers]
    told = [trial.worded(*answer) for answer in answers]
    print(json.dumps({"ok": all(taken), "destinations": told}) if given.json else "\n".join(told))
    return YES if all(taken) else NO


def _inspect(given: argparse.Namespace) -> int:
    from service.inspect import main as inspect

    try:
        paths = given.rules or list(map(Path, settings_module.from_environment().rules))
        outcomes = load(paths or [PACKS], words()).outcomes
    except (SettingsError, RuleErrors) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    return inspect(given.files, given.json, given.signal, outcomes)


def _budget(text: str) -> float:
    from alertrules.quantities import budget_per_week

    try:
        return budget_per_week(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f'"{text}" is not LABEL=VALUE; write agent=support')
    return name, value


def _explain(given: argparse.Namespace) -> int:
    from service import ask
    from service.explain import worded

    try:
        explained = ask.explain(_address(given.at), given.rule, dict(given.series))
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return NO
    print(json.dumps(explained) if given.json else "\n".join(worded(explained)))
    return YES


def _mark(given: argparse.Namespace) -> int:
    from service import ask

    said = {"mark": given.mark, "alert": given.alert, "rule": given.rule, "series": dict(given.series)}
    said |= {"for": given.length, "from": given.begins, "by": given.by, "note": given.note}
    try:
        token = settings_module.from_environment().web.token
        answer = ask.mark(
            _address(given.at), {name: value for name, value in said.items() if value},
            token.get_secret_value() if token else "",
        )  # fmt: skip
    except (ask.AskError, SettingsError) as error:
        print(error, file=sys.stderr)
        return NO
    print(json.dumps({"ok": True, "message": answer}) if given.json else answer)
    return YES


def _address(at: str | None) -> str:
    return at or settings_module.from_environment().web.listen


def _backtest(given: argparse.Namespace) -> int:
    from service.backtest import SeriesError, backtest, lines, read, worded

    try:
        result = backtest(read(given.series), given.budget)
    except SeriesError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    except OSError as error:
        print(_said(error), file=sys.stderr)
        return WRONG_USE
    for line in lines(result):
        print(json.dumps(line) if given.json else worded(line))
    return YES
