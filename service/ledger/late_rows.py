"""Late outcomes as rows beside the legs: joined to a session that is known, or waiting for one that may be open."""

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from detectors.core.columns import SECOND_NS
from service.ingest.legs import Legs
from service.ledger.late import Late, Result

WAITS_NS = 2 * 86_400 * SECOND_NS
"""How long a late outcome waits for its session: one may be open for a day, and Kafka may be behind."""
LATE_WAITING_MAX = 100_000
"""Late outcomes that wait at once; the ones that came first give way."""
TRACES_KEPT = 16
"""Traces that an outcome is linked to: one a leg."""
NOTHING, TO_COUNT, COUNTED = 0, 1, 2
"""What `waits` says: it is joined; it waits, and then counts in a series; it waits, and a series has counted it."""
_FIELDS = "late.name, late.value, late.number, late.good, late.at_ns"


class Joined(NamedTuple):
    """A late outcome whose session is known, to be counted in the series of what it is of.

    traces   ids of the first traces of the session's legs, the first leg first: TRACES_KEPT at most
    session  the session's own id, where the outcome named it just now; only its hash is kept
    """

    name: str
    value: str
    number: float
    good: bool | None
    at_ns: int
    tenant: str
    agent: str
    version: str
    traces: tuple[bytes, ...] = ()
    session: str = ""


def put(
    connection: sqlite3.Connection, late: Late, key_of: Callable[[str], bytes], now_ns: int, oldest_ns: int
) -> tuple[Result, Joined | None]:
    """Put one in, within the caller's transaction: what became of it, and what a series is to count now."""
    if late.at_ns < oldest_ns:
        return Result.TOO_OLD, None
    session = _session(connection, late, key_of)
    leg = connection.execute(
        "SELECT tenant, agent, version FROM leg JOIN label ON label.id = leg.labels WHERE session = ? "
        "ORDER BY last_ns DESC LIMIT 1",
        (session,),
    ).fetchone()
    others = connection.execute(
        "SELECT at_ns, value FROM late WHERE session = ? AND name = ?", (session, late.name)
    ).fetchall()
    if (late.at_ns, late.value) in others:
        return Result.REPEATED, None
    waits = NOTHING if leg else COUNTED if late.counted else TO_COUNT
    number = None if math.isnan(late.number) else late.number
    connection.execute(
        "INSERT INTO late VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (session, late.name, late.at_ns, late.value, number, late.good, late.source, now_ns, waits),
    )
    if leg is None:
        return Result.WAITING, None
    differs = any(value != late.value for _, value in others)
    result = Result.CONTRADICTING if differs else Result.JOINED
    if late.counted:
        return result, None
    return result, Joined(
        late.name, late.value, late.number, late.good, late.at_ns, leg[0], leg[1], leg[2],
        _traces(connection, session), late.session,
    )  # fmt: skip


def _traces(connection: sqlite3.Connection, session: bytes) -> tuple[bytes, ...]:
    """The first trace of each of its first legs."""
    rows = connection.execute(
        "SELECT trace FROM leg WHERE session = ? ORDER BY first_ns LIMIT ?", (session, TRACES_KEPT)
    )
    return tuple(bytes(trace) for (trace,) in rows)


def _session(connection: sqlite3.Connection, late: Late, key_of: Callable[[str], bytes]) -> bytes:
    """The key of its session; the id of a trace whose session is not known, or that is its session itself."""
    if late.session:
        return key_of(late.session)
    trace = bytes.fromhex(late.trace)
    row = connection.execute("SELECT session FROM leg WHERE trace = ? AND named LIMIT 1", (trace,)).fetchone()
    return trace if row is None else bytes(row[0])


def joined_by(connection: sqlite3.Connection, legs: Iterable[Legs]) -> Iterator[tuple[Result, Joined | None]]:
    """Join what waited for these legs, within the caller's transaction; for each what `put` gives."""
    for each in legs:
        columns = zip(each.key.tolist(), each.trace.tolist(), each.texts, strict=True)
        for key, trace, texts in columns:
            if trace != key:  # What named the trace alone is of the session that its leg is of.
                connection.execute("UPDATE OR REPLACE late SET session = ? WHERE session = ? AND waits", (key, trace))
            rows = connection.execute(f"SELECT {_FIELDS}, waits FROM late WHERE session = ? AND waits", (key,))
            for name, value, number, good, at_ns, waits in rows.fetchall():
                told = Joined(
                    name, value, math.nan if number is None else number, None if good is None else bool(good), at_ns,
                    texts.tenant, texts.agent, texts.version, _traces(connection, key),
                )  # fmt: skip
                yield Result.JOINED, told if waits == TO_COUNT else None
            connection.execute("UPDATE late SET waits = 0 WHERE session = ? AND waits", (key,))


def give_up(connection: sqlite3.Connection, now_ns: int, oldest_ns: int, rows_max: int) -> Iterator[tuple[Result, int]]:
    """Remove what has waited too long, what is too many, and what is too old to be kept; how many for which reason."""
    yield (
        Result.UNKNOWN,
        connection.execute("DELETE FROM late WHERE waits AND heard_ns < ?", (now_ns - WAITS_NS,)).rowcount,
    )
    connection.execute("DELETE FROM late WHERE heard_ns < ?", (oldest_ns,))
    full = 0
    for where, most in (("waits", LATE_WAITING_MAX), ("1", rows_max)):
        (count,) = connection.execute(f"SELECT count(*) FROM late WHERE {where}").fetchone()
        if count > most:
            full += connection.execute(
                "DELETE FROM late WHERE (session, name, at_ns, value) IN "
                f"(SELECT session, name, at_ns, value FROM late WHERE {where} ORDER BY heard_ns LIMIT ?)",
                (count - most,),
            ).rowcount
    yield Result.FULL, full
