"""Hours of spans through a real broker into a real daemon: does memory grow, does reading keep up?

    python -m tests.bench.soak [--minutes 60] [--rate 20000] [--json] [--readings FILE]

Sessions of two thousand series are written to Kafka as they end, with times of now, in compressed batches as a
Collector makes them. Every twenty seconds' batches are those before with other ids and later times, so making them
costs little. The daemon has the shipped rules, room for what the rate makes wait (TOCSIN_LIMITS__…), and a stand-in to
page. Every few seconds its resident memory, its CPU time and its
metrics are read. `slope` is the median of the slopes between all pairs of readings (Theil-Sen) after the first part, in
per cent of the median an hour. Lag grows where the median of the last fifth of the readings is more than ten seconds'
records above that of the first fifth. Exit status 1 where memory or lag grows, spans are missing, or more than one in
a thousand is dropped.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from aiokafka import AIOKafkaProducer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from detectors.core.columns import SECOND_NS
from service.demo.standins import PagerDutyStandIn, serving
from tests import broker
from tests.bench.kafka import PARTITIONS
from tests.bench.sessions import BEGIN_NS, bodies
from tests.service.running import Running, running
from tests.service.test_crash import KEY

TOPIC = "otlp_spans"
BATCH_SESSIONS = 37
ROUND_S = 20
"""After how long the same batches come again, with other ids."""
WARM_UP = 1 / 2
"""Share of the time, at its beginning, that counts for nothing: what is kept of calls for the causes of pages grows for
some twenty minutes at this rate, until it has all the bytes that it may have."""
LOOK_S, PATIENCE_S = 5.0, 60.0
WAITING_S = 150
"""For how long a span is held at most: the lateness, its session's idle time, and what sessions last."""
DROPPED_MAX = 1e-3
SLOPE_MAX, LAG_GROWS_S = 1.0, 10.0
KEPT = broker.Secured(
    properties="log.segment.bytes=67108864\nlog.retention.bytes=268435456\nlog.retention.check.interval.ms=10000\n"
    "log.segment.delete.delay.ms=1000\n"
)
"""The log is kept for a minute or so: an hour of it has 20 GB."""
SPANS, LAG, DROPPED = FAMILIES = "tocsin_spans_total", "tocsin_kafka_lag_records", "tocsin_dropped_total"
Row = dict[str, Any]
Readings = np.ndarray[tuple[int], np.dtype[np.float64]]


class Batch:
    """A batch that can be sent again and again, each time with ids and times of its own."""

    def __init__(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
        texts = {pair.value.string_value.encode() for span in spans for pair in span.attributes
                 if pair.key == "gen_ai.conversation.id"}  # fmt: skip
        times = {ns for span in spans for ns in (span.start_time_unix_nano, span.end_time_unix_nano)}
        self.spans = len(spans)
        self._body = np.frombuffer(body, np.uint8)
        # An id or a time is as long wherever it stands, so the others are written over it in place.
        self._times = _places(body, [ns.to_bytes(8, "little") for ns in times])
        self._traces = _places(body, list({span.trace_id for span in spans}))
        self._sessions = _places(body, [text[-8:] for text in texts])

    def again(self, number: int, later_ns: int) -> bytes:
        """The body of the round of this number, all of it so much later."""
        made = self._body.copy()
        times = made[self._times[:, None] + np.arange(8)].view("<u8")
        made[self._times[:, None] + np.arange(8)] = (times + np.uint64(later_ns)).view(np.uint8)
        made[self._traces[:, None] + np.arange(4)] ^= np.frombuffer(number.to_bytes(4, "little"), np.uint8)
        made[self._sessions[:, None] + np.arange(8)] = np.frombuffer(f"{number:08x}".encode(), np.uint8)
        return made.tobytes()


def _places(body: bytes, wanted: Sequence[bytes]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where any of these stand in the body."""
    found = []
    for one in wanted:
        at = body.find(one)
        while at >= 0:
            found.append(at)
            at = body.find(one, at + 1)
    return np.array(found, np.int64)


@dataclass
class Seen:
    """One look at the daemon: seconds since the first span, and what was read of it.

    metrics  by family, summed over its series; what was dropped by series
    """

    at_s: float
    rss: float
    cpu_s: float
    metrics: dict[str, float]


def look(daemon: Running, web: str, begun_s: float) -> Seen:
    """Read its process and its metrics."""
    process = Path(f"/proc/{daemon.process.pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    rss = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    metrics: dict[str, float] = {}
    for line in httpx.get(f"{web}/metrics", trust_env=False, timeout=30).text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in FAMILIES:
            key = line.rpartition(" ")[0] if name == DROPPED else name
            metrics[key] = metrics.get(key, 0.0) + float(line.rpartition(" ")[2])
    return Seen(time.monotonic() - begun_s, rss, cpu_s, metrics)


async def write(address: str, batches: Sequence[Batch], every_ns: int, seconds: float) -> int:
    """Send batches that far apart, each when the last of its sessions has ended; how many spans that were."""
    producer = AIOKafkaProducer(bootstrap_servers=address, compression_type="lz4", max_request_size=4 << 20)
    await producer.start()
    begun_s, begin_ns, sent, spans = time.monotonic(), time.time_ns(), 0, 0
    try:
        while time.monotonic() < begun_s + seconds:
            number, place = divmod(sent, len(batches))
            later_ns = begin_ns - BEGIN_NS + number * len(batches) * every_ns
            sent += 1
            await asyncio.sleep(max(0.0, begun_s + sent * every_ns / SECOND_NS - time.monotonic()))
            await producer.send(TOPIC, batches[place].again(number, later_ns), partition=sent % PARTITIONS)
            spans += batches[place].spans
    finally:
        await producer.stop()
    return spans


def slope(at_s: Readings, values: Readings) -> float:
    """The median of the slopes between all pairs, in units a second."""
    first, second = np.triu_indices(len(at_s), 1)
    return float(np.median((values[second] - values[first]) / (at_s[second] - at_s[first])))


async def soak(directory: Path, minutes: float, rate: float) -> tuple[list[Row], list[Seen]]:
    """Write for so long, look at the daemon meanwhile, and say what was seen: rows to print, and each look."""
    of_one = statistics.mean(Batch(body).spans for body in bodies(20, BATCH_SESSIONS))
    every_ns = round(of_one / rate * SECOND_NS)
    made = bodies(round(ROUND_S * SECOND_NS / every_ns), BATCH_SESSIONS, 2, every_ns=every_ns)
    batches = [Batch(body) for body in made]
    with broker.running(directory, KEPT) as kafka:
        await asyncio.to_thread(broker.make_topics, kafka.address, {TOPIC: PARTITIONS})
        async with serving(PagerDutyStandIn(time.monotonic)) as place:
            settings = {
                "DECODER": "compiled", "KAFKA__BOOTSTRAP_SERVERS": kafka.address, "KAFKA__TOPICS": TOPIC,
                "PAGERDUTY__URL": place.url, "PAGERDUTY__ROUTING_KEY": KEY,
                **{f"LIMITS__{name}_MAX": str(round(WAITING_S * rate)) for name in ("PENDING", "SPANS", "TRACES")},
            }  # fmt: skip
            with running(directory, **settings) as daemon:
                _, web = await asyncio.to_thread(daemon.addresses)
                writing = asyncio.create_task(write(kafka.address, batches, every_ns, minutes * 60))
                begun_s, seen = time.monotonic(), list[Seen]()
                while not writing.done():
                    seen.append(await asyncio.to_thread(look, daemon, web, begun_s))
                    await asyncio.wait([writing], timeout=LOOK_S)
                spans = writing.result()
                last = await _all_read(daemon, web, spans, begun_s)
                status = await asyncio.to_thread(daemon.stop)
            rows = judged(seen, last, spans, SECOND_NS / every_ns)
            rows += [_row("pages", len(place.requests), "posts"), _row("exit status", status, "", status == 0)]
            return rows, seen


async def _all_read(daemon: Running, web: str, spans: int, begun_s: float) -> Seen:
    """The last look: all spans have been read, or a minute has passed."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        last = await asyncio.to_thread(look, daemon, web, begun_s)
        if last.metrics[SPANS] >= spans or time.monotonic() > until_s:
            return last
        await asyncio.sleep(1.0)


def judged(seen: Sequence[Seen], last: Seen, spans: int, batches_a_second: float) -> list[Row]:
    """What the looks say, and whether it is as it should be."""
    at_s, rss = np.array([one.at_s for one in seen]), np.array([one.rss for one in seen])
    lag = np.array([one.metrics.get(LAG, 0.0) for one in seen])
    warm = at_s >= WARM_UP * at_s[-1]
    growth = 100 * 3600 * slope(at_s[warm], rss[warm]) / float(np.median(rss[warm]))
    fifth = max(1, int(warm.sum()) // 5)
    lags = [float(np.median(part)) for part in (lag[warm][:fifth], lag[warm][-fifth:])]
    first = seen[int(np.argmax(warm))]
    read = seen[-1].metrics[SPANS] - first.metrics[SPANS]
    counted, dropped = last.metrics[SPANS], sum(n for name, n in last.metrics.items() if name.startswith(DROPPED))
    return [
        _row("spans read a second", read / (seen[-1].at_s - first.at_s), "spans/s"),
        _row("resident memory, median", float(np.median(rss[warm])) / 2**20, "MiB"),
        _row("memory slope", growth, "%/hour", growth < SLOPE_MAX),
        _row("lag, first fifth", lags[0], "records"),
        _row("lag, last fifth", lags[1], "records", lags[1] - lags[0] < LAG_GROWS_S * batches_a_second),
        _row("CPU", (seen[-1].cpu_s - first.cpu_s) / (seen[-1].at_s - first.at_s), "cores"),
        _row("spans a CPU second", read / (seen[-1].cpu_s - first.cpu_s), "spans"),
        _row("spans not read", spans - counted, "spans", counted == spans),
        _row("dropped", dropped / spans, "share", dropped <= DROPPED_MAX * spans),
        *(_row(name, count, "spans") for name, count in last.metrics.items() if name.startswith(DROPPED) and count),
    ]


def _row(metric: str, value: float, unit: str, holds: bool | None = None) -> Row:
    return {"bench": "soak", "metric": metric, "value": round(value, 3), "unit": unit, "holds": holds}


def main() -> int:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=20_000.0, help="spans a second")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--readings", type=Path, help="a file for the looks: seconds, MiB, CPU s, lag; a line each")
    given = parser.parse_args()
    if reason := broker.missing():
        parser.error(reason)
    with tempfile.TemporaryDirectory(prefix="tocsin-soak-") as directory:
        rows, seen = asyncio.run(soak(Path(directory), given.minutes, given.rate))
    if given.readings:
        given.readings.write_text("".join(
            f"{one.at_s:.1f} {one.rss / 2**20:.1f} {one.cpu_s:.2f} {one.metrics.get(LAG, 0.0):.0f}\n" for one in seen
        ))  # fmt: skip
    for row in rows:
        missed = "MISSED" if row["holds"] is False else ""
        print(json.dumps(row) if given.json else f"{row['metric']:40} {row['value']:>12} {row['unit']:8} {missed}")
    return int(any(row["holds"] is False for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
