"""`tocsin run`: the daemon."""

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from service.commands import NO, WRONG_USE, YES, Commands, said
from service.config import settings as settings_module
from service.config.settings import Role, SettingsError, table

if TYPE_CHECKING:
    from service.candidate import Candidate
    from service.daemon import Daemon
    from service.partition_owner import PartitionOwner


def add(commands: Commands) -> None:
    """Add the command, with every setting in its help."""
    lines = [f"  {name}\n      {meaning} (default: {default})" for name, default, meaning in table()]
    run = commands.add_parser(
        "run",
        help="read telemetry, judge it, page",
        description="Reads OTLP over HTTP, and from Kafka if told where it is; judges by the rules; pages. On several "
        "machines, instances of role ingest share what is read, and one of role detect judges and pages.",
        epilog="settings, from the environment (a secret also from the file that …_FILE names):\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--role", choices=[role.value for role in Role], help="what this instance does: TOCSIN_ROLE")
    run.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    from service.candidate import Candidate
    from service.config.roles import checked
    from service.daemon import WALL, Daemon
    from service.partition_owner import PartitionOwner
    from service.rule_files import read, told
    from service.runtime.allocator import give_back
    from service.runtime.log_limit import Seldom
    from service.sources.kafka_security import Security
    from service.writeback import EXPORTERS

    give_back()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # A line a second while brokers are away; ours say it.
    for flooded in ("asyncio", "uvicorn.error", "tocsin.writeback", *EXPORTERS):
        logging.getLogger(flooded).addFilter(Seldom(time.monotonic))
    try:
        settings = checked(settings_module.from_environment({"TOCSIN_ROLE": given.role} if given.role else {}))
        rules = read(settings)
        if settings.role not in (Role.INGEST, Role.SUM):
            told(rules, settings)
        Security(settings.kafka)
    except (SettingsError, ValueError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    if settings.role is Role.DETECT and not settings.kafka.told_topic:
        logging.getLogger("tocsin").info(
            "nobody stands by: TOCSIN_KAFKA__TOLD_TOPIC names no topic (deploy/README.md, Hot standby, says which)"
        )
    write = partial(print, flush=True)
    make: Callable[[], Daemon | PartitionOwner | Candidate] = partial(Daemon, settings, rules, WALL, write)
    if settings.role in (Role.INGEST, Role.SUM):
        make = partial(PartitionOwner, settings, rules)
    elif settings.kafka.told_topic:
        make = partial(Candidate, settings, rules, write)
    problems = asyncio.run(_serve(make))
    for problem in problems:
        print(f"tocsin: {problem}", file=sys.stderr)
    return NO if problems else YES


async def _serve(make: "Callable[[], Daemon | PartitionOwner | Candidate]") -> list[str]:
    """Serve until SIGTERM or SIGINT; what kept it from that, where no traceback would make it clearer."""
    from aiokafka.errors import KafkaError

    from service.store.directory import StoreError

    problems: list[str] = []
    try:
        daemon = make()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.stop)
        loop.add_signal_handler(signal.SIGHUP, daemon.hang_up)
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
