"""How fast traces are read from a real Kafka broker, by shape of record, codec, checksums and fetch size.

    python -m tests.bench.kafka [--rivals-python PATH]

Each case is read by aiokafka alone, by Tocsin's Kafka door with ingest behind it, and by rivals that add the same spans
up in plain dicts: quixstreams and faust, where PATH is a Python that has them. Thousand spans a second of CPU time
of the reading process, median of the rounds; the broker, its neighbour, is not counted.
"""

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from detectors.core.columns import SECOND_NS
from service.batch import Answer, Record, Signal, Tally
from service.ingest.decode import Decoder
from service.ingest.limits import IngestLimits
from service.ingest.otlp.scanner import Scanner
from service.ingest.stage import Ingest
from service.sources.arrival import Arrival, Arrivals
from service.sources.kafka import KafkaSource
from service.sources.kafka_settings import KafkaSettings
from tests import broker
from tests.bench.sessions import BEGIN_NS, bodies

RIVALS = Path(__file__).parent / "processors.py"
PARTITIONS = 4
WARM = 600
"""Requests that ingest has read before: ten minutes of them."""
SESSIONS_A_SECOND = 37
SHAPES = {"256 KiB batches": (160, SESSIONS_A_SECOND), "a trace a record": (4_000, 1)}
"""Records, and sessions in each: the same stream, cut in two ways."""
CODECS = (None, "lz4", "zstd")
GOALS = {"aiokafka": 0.5, "quixstreams": 8.0, "faust": 8.0}


@dataclass(frozen=True)
class Case:
    """What is read, and how."""

    topic: str
    name: str
    records: int
    spans: int
    check_crcs: bool
    fetch_bytes: int


async def produce(address: str, topic: str, codec: str | None, values: Sequence[bytes]) -> None:
    """Write records, round the partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=address, compression_type=codec, max_request_size=4 << 20)
    await producer.start()
    try:
        sent = [await producer.send(topic, value, partition=i % PARTITIONS) for i, value in enumerate(values)]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def alone(address: str, case: Case, group: str) -> float:
    """CPU seconds of aiokafka fetching all of it and looking at none."""
    consumer = AIOKafkaConsumer(
        case.topic, bootstrap_servers=address, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=case.fetch_bytes, check_crcs=case.check_crcs, isolation_level="read_committed",
    )  # fmt: skip
    await consumer.start()
    begun, left = time.process_time(), case.records
    while left > 0:
        fetched = await consumer.getmany(timeout_ms=500, max_records=5_000)
        left -= sum(len(messages) for messages in fetched.values())
    took = time.process_time() - begun
    await consumer.stop()
    return took


async def tocsin(address: str, case: Case, group: str, given: Decoder, warm: Sequence[bytes]) -> float:
    """CPU seconds of our door and our ingest, which has read the bodies in `warm` before: it knows the agents."""
    settings = KafkaSettings(
        bootstrap_servers=address, group=group, topics=(case.topic,), fetch_bytes=case.fetch_bytes,
        check_crcs=case.check_crcs,
    )  # fmt: skip
    arrivals: Arrivals = asyncio.Queue(64)
    source, ingest, tally = KafkaSource(settings, arrivals, {}, group), Ingest(IngestLimits(), decoder=given), Tally()
    now_ns = BEGIN_NS + 10**14  # Partitions run apart: nobody is in the future.
    for body in warm:
        ingest.read(Record(Signal.TRACES, body, "warm"), now_ns - 3600 * SECOND_NS, Tally())
    for _ in ingest.flush(Tally()):
        pass
    begun, left = time.process_time(), case.records
    reading = asyncio.create_task(source.run())
    while left > 0:
        arrival = await arrivals.get()
        if arrival.expected is not None:
            ingest.expect(arrival.expected)
        answers = await asyncio.to_thread(_read, ingest, arrival, now_ns, tally)
        left -= len(answers)
        if arrival.answers:
            arrival.answers.set_result(answers)
    await asyncio.to_thread(lambda: list(ingest.flush(tally)))
    took = time.process_time() - begun
    source.stop_reading()
    source.leave()
    await reading
    assert tally.spans == case.spans, (tally.spans, case.spans)
    return took


def _read(ingest: Ingest, arrival: Arrival, now_ns: int, tally: Tally) -> tuple[Answer, ...]:
    answers: list[Answer] = []
    for answered in ingest.read_all(arrival.records, now_ns, tally):
        answers += answered
        for _ in ingest.closed_slots(now_ns, tally):
            pass
    return tuple(answers)


def rival(python: Path, name: str, address: str, case: Case, group: str) -> float | None:
    """CPU seconds of another stream processor, None if it is not there or fails."""
    told = [str(python.absolute()), str(RIVALS), name, address, case.topic, group, str(case.records)]
    try:
        with tempfile.TemporaryDirectory(prefix="tocsin-rival-") as here:
            ran = subprocess.run(told, capture_output=True, text=True, timeout=60, check=True, cwd=here)
        said = next(line for line in ran.stdout.splitlines() if line.startswith("{"))
        return float(json.loads(said)["cpu_s"])
    except (subprocess.SubprocessError, OSError, ValueError, LookupError, StopIteration):
        return None


def cases(address: str, fetches: Sequence[int]) -> Iterator[Case]:
    """All of them, their records written just before."""
    scanner = Scanner()
    for shape, (records, sessions) in SHAPES.items():
        values = bodies(records, sessions, every_ns=SECOND_NS * sessions // SESSIONS_A_SECOND)
        spans = sum(scanner.scan([value]).n_spans for value in values)
        for codec in CODECS:
            topic = f"spans-{shape.split()[0]}-{codec}"
            broker.make_topics(address, {topic: PARTITIONS})
            asyncio.run(produce(address, topic, codec, values))
            for check_crcs in (True, False):
                for fetch in fetches:
                    said = f"{shape}, {codec or 'none'}, CRC {'on' if check_crcs else 'off'}, fetch {fetch >> 10} KiB"
                    yield Case(topic, said, records, spans, check_crcs, fetch)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fetch-kib", type=int, nargs="*", default=[1024])
    parser.add_argument("--rivals-python", type=Path, help="a Python that has quixstreams or faust-streaming")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if reason := broker.missing():
        parser.error(reason)
    made = Scanner()
    gc.set_threshold(50_000, 20, 50)  # As the daemon does.
    warm = bodies(WARM, 55, 99, -WARM * SECOND_NS - 3600 * SECOND_NS)
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as directory, broker.running(Path(directory)) as kafka:
        address = kafka.address
        for case in cases(address, [kib << 10 for kib in given.fetch_kib]):
            took: dict[str, list[float]] = {}
            for number in range(given.rounds):
                group = f"{case.name}-{number}".replace(" ", "").replace(",", "-")
                took.setdefault("aiokafka", []).append(asyncio.run(alone(address, case, f"{group}-alone")))
                took.setdefault("tocsin", []).append(asyncio.run(tocsin(address, case, group, made, warm)))
            # Their own settings decide on checksums and fetch sizes: once for each shape.
            is_first = case.check_crcs and case.fetch_bytes == given.fetch_kib[0] << 10 and ", none," in case.name
            if given.rivals_python and is_first:
                for name in ("quixstreams", "faust"):
                    seconds = rival(given.rivals_python, name, address, case, f"{name}-{case.topic}")
                    took[name] = [] if seconds is None else [seconds]
            _print(given.json, case, took)
    return 0


def _print(as_json: bool, case: Case, took: dict[str, list[float]]) -> None:
    speed = {name: case.spans / statistics.median(s) / 1000 for name, s in took.items() if s}
    for name in took:
        row: dict[str, Any] = {"bench": "kafka", "case": f"{case.name}: {name}", "metric": "speed"}
        row |= {"value": round(speed[name], 1) if name in speed else None, "unit": "k spans/cpu s", "goal": None,
                "holds": None}  # fmt: skip
        rows = [row]
        if name in GOALS and name in speed:
            ratio = speed["tocsin"] / speed[name]
            beside = {
                "metric": f"tocsin / {name}",
                "value": round(ratio, 2),
                "unit": "x",
                "goal": f">= {GOALS[name]:g}",
            }
            rows.append(row | beside | {"holds": ratio >= GOALS[name]})
        for each in rows:
            if as_json:
                print(json.dumps(each), flush=True)
            else:
                value = "absent" if each["value"] is None else f"{each['value']:.4g}"
                missed = "MISSED" if each["holds"] is False else ""
                told = f"{each['case']:62} {each['metric']:20} {value:>8} {each['unit']:14}"
                print(f"{told} {each['goal'] or '':8} {missed}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
