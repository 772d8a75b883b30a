"""The record of sessions: bytes a leg, legs a second, and how long it takes to ask for one."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from alertrules.links import NO_LINKS
from detectors.core.columns import SECOND_NS
from service.ingest.join.join import UNSEEDED
from service.ingest.kernel.tables import Tables
from service.ingest.legs import Legs, Texts
from service.ledger import asked
from service.ledger.session_file import SESSIONS_FILE, reading
from service.ledger.sessions import Sessions

BEGIN_NS = 1_790_000_000 * SECOND_NS
AT_ONCE, SAVES, ROWS_MAX = 2_500, 240, 500_000
"""Legs that close between two saves; saves; rows after which the oldest go."""


def drawn(chance: np.random.Generator, at_ns: int, n: int) -> Legs:
    """Legs of random sessions of 50 agents and 40 tenants, a few calls each."""
    last_ns = at_ns + np.arange(n) * 1_000_000
    return Legs(
        key=np.frombuffer(chance.bytes(16 * n), "V16"),
        trace=np.frombuffer(chance.bytes(16 * n), "V16"),
        named=chance.random(n) < 0.9,
        first_ns=last_ns - chance.integers(10**9, 10**11, n),
        last_ns=last_ns,
        traces=np.ones(n, np.int64),
        went=chance.poisson([4, 0.1, 0.1, 3, 0.2, 0.3, 1, 0.1, 0.02], (n, 9)),
        lowest=np.where(chance.random(n) < 0.5, chance.random(n), np.nan),
        tokens=chance.integers(100, 20_000, (n, 2)).astype(np.float64),
        dollars=chance.random(n),
        failed=chance.random(n) < 0.05,
        weight=np.ones(n),
        texts=[Texts(f"tenant-{i % 40}", f"agent-{i % 50}", "1.14.2", "gpt-4.1", "resolved") for i in range(n)],
    )


def run() -> Iterator[str]:
    """Write half an hour of a busy fleet, then ask."""
    chance, took_s = np.random.default_rng(1), list[float]()
    traces = Tables(UNSEEDED, 1, 1, 1, 1, 1, None).rows("traces")
    yield f"a live trace takes {traces.itemsize} bytes beside its spans"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sessions = Sessions(directory, 30 * 86_400 * SECOND_NS, ROWS_MAX, str.encode)
        for number in range(SAVES):
            at_ns = BEGIN_NS + number * 5 * SECOND_NS
            legs = drawn(chance, at_ns, AT_ONCE)
            began_s = time.perf_counter()
            sessions.add([legs])
            sessions.write(at_ns)
            took_s.append(time.perf_counter() - began_s)
        assert not sessions.problem and sessions.rows == ROWS_MAX
        size = sum(path.stat().st_size for path in directory.iterdir() if path.name == SESSIONS_FILE)
        rates = [AT_ONCE / np.median(part) for part in (took_s[:40], took_s[150:190], took_s[-30:])]
        yield f"{size / ROWS_MAX:.0f} bytes a leg of {ROWS_MAX:,} on disk"
        yield f"legs written a second: {rates[0]:,.0f} in a small file, {rates[1]:,.0f} in one of {170 * AT_ONCE:,}"
        yield f"the same where as many of the oldest go: {rates[2]:,.0f}"
        with closing(reading(directory)) as connection:
            keys = [row[0] for row in connection.execute("SELECT session FROM leg ORDER BY id DESC LIMIT 1000")]
            began_s = time.perf_counter()
            for key in keys:
                asked.session(connection, key, NO_LINKS)
            yield f"one session is found in {(time.perf_counter() - began_s) / len(keys) * 1e3:.2f} ms"
            began_s = time.perf_counter()
            asked.audit(connection, BEGIN_NS)
            yield f"who names sessions, of all of them: {time.perf_counter() - began_s:.1f} s"
