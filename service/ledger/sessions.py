"""The writer of the sessions' file: what closed is gathered here, and written with the next save, before it.

Written before the state that says that it was read, a leg is written again after a crash, and is the same row then.
Where it cannot be written, it waits, and paging goes on: that is said once a minute, and in /metrics.
"""

import logging
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from service.ingest.legs import Legs
from service.ingest.prices import DAY_NS
from service.ledger.late import Late, Result
from service.ledger.late_rows import Joined, give_up, joined_by, put
from service.ledger.session_file import (
    SESSIONS_FILE,
    LabelNumbers,
    SessionFileError,
    insert,
    opened,
    remove_old,
)
from service.store.files import Identity, identity
from service.store.transaction import transaction

log = logging.getLogger("tocsin")

WAITING_LEGS_MAX = 100_000
"""Legs, or late outcomes of telemetry, that wait for a file that cannot be written; the oldest give way."""
TO_COUNT_MAX = 100_000
"""Late outcomes that wait to be counted in their series."""
EVERY_MINUTE_NS = 60_000_000_000
Told = tuple[Result, Joined | None]


class Onward(Protocol):
    """Who is told, too, of what became known. Neither call may wait or raise."""

    def outcome(self, joined: Joined) -> None:
        """A late outcome was joined to its session."""

    def week(self, monday_ns: int) -> None:
        """A week has ended at that Monday, 00:00 UTC."""


class Sessions:
    """One file's writer. One owner: calls that write never overlap, in whatever thread.

    key_of    what stands for the session of a name
    written   legs that are in the file since the start
    dropped   legs that are not, or not any more, before their time: `full`, `unwritten`, or `untold` by other machines
    late      what became of late outcomes
    failures  writes that failed
    problem   why the last one did; empty while writing works
    rows      in the file, as far as this writer knows
    """

    def __init__(
        self, directory: Path, keep_ns: int, rows_max: int, key_of: Callable[[str], bytes], onward: Onward | None = None
    ) -> None:
        self.directory, self._keep_ns, self._rows_max, self._key_of = directory, keep_ns, rows_max, key_of
        self._onward, self._monday_ns = onward, 0
        self._mondays: list[Callable[[int], None]] = [onward.week] if onward else []
        self.written = self.failures = self.rows = 0
        self.dropped: Counter[str] = Counter()
        self.late: Counter[Result] = Counter()
        self.problem = ""
        self._waiting: deque[Legs] = deque()
        self._waiting_legs = 0
        self._told: deque[Late] = deque(maxlen=WAITING_LEGS_MAX)
        self._to_count: deque[Joined] = deque(maxlen=TO_COUNT_MAX)
        self._connection: sqlite3.Connection | None = None
        self._numbers: LabelNumbers | None = None
        self._file: Identity | None = None
        self._said_ns = self._swept_ns = 0

    def add(self, legs: Iterable[Legs], told: Iterable[Late] = ()) -> None:
        """Sessions closed, and telemetry told of late outcomes."""
        for each in legs:
            self._waiting.append(each)
            self._waiting_legs += len(each.texts)
        while self._waiting_legs > WAITING_LEGS_MAX and len(self._waiting) > 1:
            gone = len(self._waiting.popleft().texts)
            self._waiting_legs -= gone
            self.dropped["unwritten"] += gone
        self._told.extend(told)

    @property
    def is_filling(self) -> bool:
        """Whether so many legs wait that they had better be written, where that works."""
        return self._waiting_legs > WAITING_LEGS_MAX // 2 and not self.problem

    def write(self, now_ns: int) -> None:
        """Write what waits, and remove what is too old. Raises nothing: what goes wrong is counted and said."""
        try:
            connection, numbers = self._connected()
            with transaction(connection):
                new = sum(insert(connection, each, numbers) for each in self._waiting)
                some_wait = connection.execute("SELECT 1 FROM late WHERE waits LIMIT 1").fetchone()
                told = list(joined_by(connection, self._waiting)) if some_wait else []
                told += [self._put(connection, one, now_ns) for one in self._told]
                over = self.rows + new - self._rows_max
                old, more = remove_old(connection, now_ns - self._keep_ns, over)
                gone = self._swept(connection, now_ns)
        except (sqlite3.Error, OSError, SessionFileError) as error:
            self._failed(str(error), now_ns)
            return
        except (ValueError, OverflowError) as error:  # A bug of ours: what no column can hold would never be written.
            self.dropped["unwritten"] += self._waiting_legs
            self._forget()
            self._failed(str(error), now_ns)
            return
        self._forget()
        self.written += new
        self.rows += new - old - more
        self.dropped["full"] += more
        self.late.update(gone)
        self._take(told)
        if self.problem:
            log.info("sessions are recorded again in %s", self.directory / SESSIONS_FILE)
        self.problem = ""

    def _forget(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()
        self._told.clear()
        self._waiting_legs = 0

    def hear(self, late: Sequence[Late], now_ns: int) -> Counter[Result]:
        """Write late outcomes at once; what became of them. Raises sqlite3.Error, OSError or SessionFileError."""
        connection, _ = self._connected()
        try:
            with transaction(connection):
                told = [self._put(connection, one, now_ns) for one in late]
        except sqlite3.Error:
            self.close()
            raise
        self._take(told)
        return Counter(result for result, _ in told)

    def pass_to(self, event_ns: int) -> None:
        """Event time has come so far: of a Monday that it passed somebody is told, once, whatever is started anew.

        A file that knows no Monday begins with this one. Raises nothing: it is tried again with the next save.
        """
        day = event_ns // DAY_NS
        monday_ns = (day - (day + 3) % 7) * DAY_NS  # The first of 1970 was a Thursday.
        if not self._mondays or self.problem or monday_ns <= self._monday_ns:
            return
        try:
            connection, _ = self._connected()
            with transaction(connection):
                (known_ns,) = connection.execute("SELECT max(monday_ns) FROM week").fetchone()
                if known_ns is None or known_ns < monday_ns:
                    connection.execute("DELETE FROM week")
                    connection.execute("INSERT INTO week VALUES (?)", (monday_ns,))
        except (sqlite3.Error, OSError, SessionFileError):
            self.close()
            return
        self._monday_ns = monday_ns
        if known_ns is not None and known_ns < monday_ns:
            for tell in self._mondays:
                tell(monday_ns)

    def each_monday(self, tell: Callable[[int], None]) -> None:
        """Have this be told of each Monday, too, as `Onward.week` is."""
        self._mondays.append(tell)

    def to_count(self, most: int) -> list[Joined]:
        """The late outcomes that are to be counted in their series next; they are taken."""
        return [self._to_count.popleft() for _ in range(min(most, len(self._to_count)))]

    def _put(self, connection: sqlite3.Connection, late: Late, now_ns: int) -> Told:
        return put(connection, late, self._key_of, now_ns, now_ns - self._keep_ns)

    def _take(self, told: Iterable[Told]) -> None:
        """Count results, and have what is new be counted in its series."""
        for result, joined in told:
            self.late[result] += 1
            if joined is not None:
                self._to_count.append(joined)
                if self._onward is not None:
                    self._onward.outcome(joined)

    def _swept(self, connection: sqlite3.Connection, now_ns: int) -> dict[Result, int]:
        """Once a minute: late outcomes that are given up."""
        if 0 <= now_ns - self._swept_ns < EVERY_MINUTE_NS:
            return {}
        self._swept_ns = now_ns
        return dict(give_up(connection, now_ns, now_ns - self._keep_ns, self._rows_max))

    def _connected(self) -> tuple[sqlite3.Connection, LabelNumbers]:
        """The open file: another one where it was deleted or replaced."""
        path = self.directory / SESSIONS_FILE
        if self._connection is not None and self._file != identity(path):
            self.close()
        if self._connection is None:
            connection = opened(self.directory)
            (self.rows,) = connection.execute("SELECT count(*) FROM leg").fetchone()
            self._connection, self._file, self._numbers = connection, identity(path), LabelNumbers(connection)
        assert self._numbers is not None
        return self._connection, self._numbers

    def _failed(self, why: str, now_ns: int) -> None:
        self.failures += 1
        self.problem = why
        self.close()
        if now_ns - self._said_ns >= EVERY_MINUTE_NS:
            self._said_ns = now_ns
            log.error(
                "sessions are not recorded in %s (%s); paging goes on, and %d legs of sessions wait",
                self.directory / SESSIONS_FILE, why, self._waiting_legs,
            )  # fmt: skip

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # Of a file that is damaged: what is wrong was said.
                self._connection.close()
        self._connection = self._file = None
