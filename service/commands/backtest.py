"""`tocsin backtest`: which pages rules, or a budget, would have sent over what was recorded. Nobody is told."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from alertrules.quantities import budget_per_week
from alertrules.wording import utc
from service.commands import WRONG_USE, YES, Commands, said

if TYPE_CHECKING:
    from service.batch import Batch
    from service.config.settings import Settings

PROGRESS_S, BAR_WIDTH = 1.0, 30
BATCH_BYTES = 4 << 20


def add(commands: Commands) -> None:
    """Add the command."""
    backtest = commands.add_parser(
        "backtest",
        help="say which pages would have been sent over recorded telemetry, or over a series",
        description="With --otlp or --kafka: which pages rules would have sent over recorded telemetry, by rule and "
        "week; with --against, what a change of rules changes. With --series: which pages a budget would have sent "
        "over one series. Nothing is ever sent. Settings are read as `tocsin run` reads them.",
    )
    source = backtest.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--otlp", nargs="+", type=Path, metavar="FILE", help="OTLP/JSON with a body a line, or bodies; gzip or not"
    )
    source.add_argument("--kafka", action="store_true", help="the topics of TOCSIN_KAFKA__TOPICS, by --from and --to")
    source.add_argument(
        "--series", type=Path, metavar="FILE", help="CSV with the columns timestamp, value, maybe label"
    )
    backtest.add_argument("--from", dest="begins", type=_moment, metavar="TIME", help="with --kafka: 2026-03-02T00:00Z")
    backtest.add_argument("--to", dest="ends", type=_moment, metavar="TIME", help="with --kafka; default: now")
    backtest.add_argument(
        "--rules", action="append", type=Path, metavar="FILE",
        help="rule file or directory, may be given again; default: TOCSIN_RULES, or the shipped rules",
    )  # fmt: skip
    backtest.add_argument(
        "--against", action="append", type=Path, metavar="FILE", help="rules of before: what is new and what is gone"
    )
    backtest.add_argument("--budget", type=_budget, help="with --series: false pages it may cost, such as 1/week")
    backtest.add_argument("--json", action="store_true", help="JSON on standard output")
    backtest.set_defaults(run=_backtest)


def _budget(text: str) -> float:
    try:
        return budget_per_week(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text:.80}" is not a time; write 2026-03-02T00:00Z') from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _backtest(given: argparse.Namespace) -> int:
    if problem := _wrong(given):
        print(f"tocsin backtest: {problem}", file=sys.stderr)
        return WRONG_USE
    return _of_series(given) if given.series else _of_telemetry(given)


def _wrong(given: argparse.Namespace) -> str:
    """What does not go together; empty if all does."""
    if given.series and not given.budget:
        return "--series needs a budget; write --budget 1/week"
    if given.series and (given.rules or given.against):
        return "--series is judged by a budget, not by rules; leave --rules and --against out"
    if not given.series and given.budget:
        return "--budget is for --series; the budgets of rules stand in them"
    if given.kafka and not given.begins:
        return "--kafka needs a time to begin with; write --from 2026-03-02T00:00Z"
    if not given.kafka and (given.begins or given.ends):
        return "--from and --to are for --kafka"
    return ""


def _of_series(given: argparse.Namespace) -> int:
    from service.replay.backtest import SeriesError, backtest, lines, read, worded

    try:
        result = backtest(read(given.series), given.budget)
    except (SeriesError, OSError) as error:
        print(said(error), file=sys.stderr)
        return WRONG_USE
    for line in lines(result):
        print(json.dumps(line) if given.json else worded(line))
    return YES


def _of_telemetry(given: argparse.Namespace) -> int:
    from aiokafka.errors import KafkaError

    from alertrules.parse import PACKS, RuleErrors, load
    from service.config import settings as settings_module
    from service.notifiers.notifier import words
    from service.replay.recorded import RecordedError
    from service.replay.rehearsal import Rehearsal, difference, rehearse
    from service.replay.rehearsed_report import report, shown

    now_ns = time.time_ns()
    try:
        settings = settings_module.from_environment()
        sets = [load(given.rules or list(map(Path, settings.rules)) or [PACKS], words())]
        sets += [load(given.against, words())] if given.against else []
        batches = _from_kafka(given, settings) if given.kafka else _from_files(given.otlp)
        found = rehearse(batches, [Rehearsal(rules, settings, now_ns) for rules in sets])
    except (settings_module.SettingsError, RuleErrors, RecordedError, OSError, KafkaError, ValueError) as error:
        print(said(error), file=sys.stderr)
        return WRONG_USE
    now, before = found[0], found[1] if len(found) > 1 else None
    changed = difference(now, before) if before else None
    print(json.dumps(shown(now, before, changed)) if given.json else "\n".join(report(now, before, changed)))
    return YES


def _from_files(paths: list[Path]) -> "Iterator[Batch]":
    """What files hold, in the order of event time, with progress on standard error."""
    from service.batch import Batch, Record
    from service.replay.recorded import recorded

    sizes = [path.stat().st_size for path in paths]
    read, progress = [0] * len(paths), _Progress()
    held: list[Record] = []
    held_bytes = 0
    for one in recorded(paths):
        held.append(Record(one.signal, one.body, "recorded"))
        held_bytes += len(one.body)
        read[one.file] = one.read
        if held_bytes >= BATCH_BYTES:
            yield Batch(tuple(held), {})
            held, held_bytes = [], 0
            progress.say(sum(read) / max(sum(sizes), 1), one.time_ns)
    yield Batch(tuple(held), {})
    progress.end()


def _from_kafka(given: argparse.Namespace, settings: "Settings") -> "Iterator[Batch]":
    """What Kafka has of that time, with progress on standard error."""
    from service.sources.kafka_range import KafkaRange

    progress = _Progress()
    with asyncio.Runner() as runner:
        reading = KafkaRange(settings.kafka, given.begins, given.ends or datetime.now(UTC))
        try:
            runner.run(reading.start())
            while (batch := runner.run(reading.next())) is not None:
                yield batch
                progress.say(reading.part, reading.time_ms * 1_000_000)
        finally:
            runner.run(reading.stop())
    progress.end()


class _Progress:
    """A line on standard error every second, over the one before where that is a terminal."""

    def __init__(self) -> None:
        self._said_s = 0.0
        self._is_terminal = sys.stderr.isatty()

    def say(self, part: float, time_ns: int) -> None:
        """So much is read, up to this event time."""
        if time.monotonic() - self._said_s < PROGRESS_S:
            return
        self._said_s = time.monotonic()
        done = int(BAR_WIDTH * part)
        bar = "#" * done + "-" * (BAR_WIDTH - done)
        line = f"[{bar}] {100 * part:3.0f}%  {utc(time_ns)}"
        print(f"\r{line}" if self._is_terminal else line, end="" if self._is_terminal else "\n", file=sys.stderr)

    def end(self) -> None:
        """Leave the line free for what comes after it."""
        if self._is_terminal and self._said_s:
            print(file=sys.stderr)
