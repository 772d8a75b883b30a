"""`tocsin run`: the daemon."""

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from service import settings as settings_module
from service.commands import NO, WRONG_USE, YES, Commands, said
from service.settings import SettingsError, table

if TYPE_CHECKING:
    from service.daemon import Daemon


def add(commands: Commands) -> None:
    """Add the command, with every setting in its help."""
    lines = [f"  {name}\n      {meaning} (default: {default})" for name, default, meaning in table()]
    run = commands.add_parser(
        "run",
        help="read telemetry, judge it, page",
        description="Reads OTLP over HTTP, and from Kafka if told where it is; judges by the rules; pages.",
        epilog="settings, from the environment (a secret also from the file that …_FILE names):\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
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
        problems = [said(error) for error in _leaves(errors)]
    return problems


def _leaves(errors: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in errors.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
