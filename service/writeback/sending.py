"""The queue of what is written back, and the one thread that sends it by the OpenTelemetry SDK's exporters.

Whoever puts something in never waits. An endpoint that is away is tried again, a batch for at most an hour; meanwhile
the queue fills, and what came first gives way. What waits is in memory alone: a kill loses it.
"""

import logging
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from service.writeback.evaluations import Written

log = logging.getLogger("tocsin.writeback")

WAITING_FACTS_MAX = 10_000
SENT_AT_ONCE = 500
TRIED_FOR_S = 3600.0
PAUSE_FIRST_S, PAUSE_MOST_S = 1.0, 60.0
LAST_TRY_S = 5.0
"""How long a clean stop waits for what is still to be sent."""
Fact = Callable[[], Written]
"""What makes a span and an event of a fact: they are made by the thread that sends them."""
Later = Callable[[], Iterable[Fact]]


class Sending:
    """One queue and its thread. Any thread may put something in.

    may_send  whether something may be sent now: of several instances the one that leads writes back

    written   facts that the endpoint has taken, both as a span and as an event
    failures  tries that failed
    lost      facts that are not written back, by each of LOST
    """

    def __init__(
        self, spans: SpanExporter, events: LogRecordExporter, place: str, may_send: Callable[[], bool]
    ) -> None:  # fmt: skip
        self._spans, self._events, self._place, self._may_send = spans, events, place, may_send
        self.written = self.failures = 0
        self.lost: Counter[str] = Counter()
        self._waiting: deque[Fact] = deque()
        self._later: deque[Later] = deque()
        self._in_hand = 0
        self._some = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writeback", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Facts that are not sent yet."""
        return len(self._waiting) + self._in_hand

    def add(self, facts: Iterable[Fact]) -> None:
        """Have these sent; what came first gives way where too many wait."""
        with self._some:
            self._waiting.extend(facts)
            while len(self._waiting) > WAITING_FACTS_MAX:
                self._waiting.popleft()
                self.lost["full"] += 1
            self._some.notify()

    def later(self, make: Later) -> None:
        """Have what takes a while to work out be worked out and sent."""
        with self._some:
            self._later.append(make)
            self._some.notify()

    def stop(self) -> None:
        """Try once more to send what waits, for a few seconds; then it is lost."""
        with self._some:
            self._stopping.set()
            self._some.notify()
        self._thread.join(LAST_TRY_S)
        self._spans.shutdown()
        self._events.shutdown()  # type: ignore[no-untyped-call]
        self.lost["stopped"] += self.waiting
        if self.lost["stopped"]:
            log.warning("%d outcomes are not written back to %s, as it did not take them", self.waiting, self._place)

    def _run(self) -> None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._waiting or self._later or self._stopping.is_set())
                make = self._later.popleft() if self._later else None
                batch = [self._waiting.popleft() for _ in range(min(SENT_AT_ONCE, len(self._waiting)))]
                self._in_hand = len(batch)
            if make is not None:
                self._work_out(make)
            is_taken = bool(batch) and self._send(batch)
            if self._stopping.is_set() and not is_taken:
                return  # What is in hand still counts as waiting: `stop` says what is lost.
            self._in_hand = 0

    def _work_out(self, make: Later) -> None:
        try:
            self.add(make())
        except (sqlite3.Error, OSError) as error:
            self.failures += 1
            log.error("what foretold bad ends is not written back this week: %s", error)

    def _send(self, batch: Sequence[Fact]) -> bool:
        """Send a batch, its spans and then its events; whether both were taken."""
        made = [make() for make in batch]
        spans, events = [one.span for one in made], [one.event for one in made]
        until_s = time.monotonic() + TRIED_FOR_S
        is_taken = self._tried(lambda: self._spans.export(spans) is SpanExportResult.SUCCESS, until_s)
        if is_taken:
            is_taken = self._tried(lambda: self._events.export(events) is LogRecordExportResult.SUCCESS, until_s)
        if is_taken:
            self.written += len(batch)
        elif not self._stopping.is_set():
            self.lost["expired"] += len(batch)
        return is_taken

    def _tried(self, export: Callable[[], bool], until_s: float) -> bool:
        """Export, until it is taken, too late, or time to stop; whether it is taken."""
        pause_s = PAUSE_FIRST_S
        while not (may_send := self._may_send()) or not export():
            if may_send:
                self.failures += 1
                log.error("outcomes cannot be written back to %s; %d wait", self._place, self.waiting)
            if self._stopping.wait(pause_s) or time.monotonic() > until_s:
                return False
            pause_s = min(2 * pause_s, PAUSE_MOST_S)
        return True
