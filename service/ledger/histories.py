"""Sessions by column: what each went through, all its legs together, and whether it ended badly as far as is known."""

import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alertrules.outcome_classes import Outcomes
from detectors.core.columns import SECOND_NS, Bools, Floats
from service.ingest.legs import WENT
from service.ingest.otlp.wanted import TIME_MAX_NS

LEGS_READ_MAX = 200_000
"""Legs that are looked at together, the latest."""
NUMBERS = (*WENT, "traces", "tokens", "dollars", "seconds", "failed", "lowest_score")
"""What is known of a session as numbers."""
FIRST = 3
"""Where the numbers begin in a row that is read."""
_SUMS = ", ".join(f"sum({name})" for name in WENT)
_SQL = f"""
WITH latest AS (
    SELECT * FROM leg WHERE last_ns >= ? AND last_ns < ?
    AND (? = '' OR labels IN (SELECT id FROM label WHERE agent = ?))
    ORDER BY last_ns DESC LIMIT ?
), picked AS (
    SELECT session, max(last_ns) AS until_ns, max(printf('%020d%010d', last_ns, labels) || hex(trace)) AS last,
        {_SUMS}, sum(traces),
        sum(tokens_in + tokens_out), CASE WHEN count(dollars) = count(*) THEN sum(dollars) END,
        sum(last_ns - first_ns) / 1e9, max(failed), min(lowest_score),
        max(CASE WHEN label.outcome <> '' THEN printf('%020d', last_ns) || label.outcome END) AS ended
    FROM latest JOIN label ON label.id = latest.labels GROUP BY session
)
SELECT picked.*, label.agent, label.version, label.model, label.tenant
FROM picked JOIN label ON label.id = CAST(substr(last, 21, 10) AS INTEGER) ORDER BY until_ns DESC, session
"""


class Who(NamedTuple):
    """Labels of the last leg of a session."""

    agent: str
    version: str
    model: str
    tenant: str


@dataclass(frozen=True, eq=False)
class Histories:
    """Sessions, the one that ended last first.

    session   n keys
    trace     n ids of the first trace of the last leg
    who       n labels
    until_ns  (n,) int64: when the last leg ended
    numbers   (n,) float64 by each of NUMBERS; NaN is not known
    bad       (n,) float64: 1 where it ended badly, 0 where well, NaN where nobody knows. What came late is believed
              before what the session said itself
    """

    session: list[bytes]
    trace: list[bytes]
    who: list[Who]
    until_ns: NDArray[np.int64]
    numbers: dict[str, Floats]
    bad: Floats

    def picked(self, which: Bools) -> "Histories":
        """Those of them."""
        at = np.flatnonzero(which).tolist()
        return Histories(
            [self.session[i] for i in at], [self.trace[i] for i in at], [self.who[i] for i in at], self.until_ns[at],
            {name: values[at] for name, values in self.numbers.items()}, self.bad[at],
        )  # fmt: skip


def histories(
    connection: sqlite3.Connection,
    since_ns: int,
    outcomes: Outcomes,
    agent: str = "",
    outcome: str = "",
    until_ns: int = TIME_MAX_NS,
) -> Histories:
    """The sessions of the legs that ended since then and before `until_ns`, of the latest LEGS_READ_MAX of them.

    agent    of this agent alone, unless empty
    outcome  the name of the late outcome that says how a session ended; empty: the latest of any name that is good or
             bad, and where there is none, what the session said itself
    """
    rows = connection.execute(_SQL, (since_ns, until_ns, agent, agent, LEGS_READ_MAX)).fetchall()
    said = _late(connection, outcome)
    columns = list(zip(*rows, strict=True)) if rows else [()] * (FIRST + len(NUMBERS) + 1 + len(Who._fields))
    sessions = [bytes(key) for key in columns[0]]
    numbers = np.array(columns[FIRST : FIRST + len(NUMBERS)], np.float64)
    ended = columns[FIRST + len(NUMBERS)]
    goods = set(outcomes.names[: outcomes.goods])
    bads = set(outcomes.names[outcomes.goods : outcomes.unmapped])
    bad = np.full(len(rows), np.nan)
    for i, (key, word) in enumerate(zip(sessions, ended, strict=True)):
        if key in said:
            bad[i] = not said[key]
        elif word is not None and not outcome and word[20:] in goods | bads:
            bad[i] = word[20:] in bads
    labels = [Who(*row) for row in zip(*columns[-len(Who._fields) :], strict=True)]
    ended_ns = np.array(columns[1], np.int64)
    return Histories(
        sessions,
        [bytes.fromhex(last[30:]) for last in columns[2]],
        labels,
        ended_ns,
        dict(zip(NUMBERS, numbers, strict=True)),
        bad,
    )


def _late(connection: sqlite3.Connection, name: str) -> dict[bytes, bool]:
    """By session, whether the latest late outcome is good."""
    rows = connection.execute(
        "SELECT session, good FROM late WHERE good IS NOT NULL AND NOT waits AND (? = '' OR name = ?) "
        "ORDER BY at_ns, heard_ns",
        (name, name),
    )
    return {bytes(session): bool(good) for session, good in rows}


def days_ago(now_ns: int, days: float) -> int:
    """The time so many days before."""
    return now_ns - round(days * 86_400 * SECOND_NS)
