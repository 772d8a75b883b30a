"""Tocsin as it is deployed beside the OpenTelemetry Collector's spanmetrics connector: CPU of the whole process.

    python -m tests.bench.collector --collector PATH

PATH is a Collector with the components that CONFIG names; its `builder` makes one. Both get the same stream over
OTLP/HTTP, then from Kafka in two cuts, in turns; user and system time as Linux counts it for the process, from the
first request until all spans show on its metrics page, median of the rounds. The connector keeps calls, errors and
durations by agent, tenant and operation since its start; Tocsin joins, prices, keeps event-time slots, judges the
shipped rules and saves besides.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from detectors.core.columns import SECOND_NS
from service.ingest.otlp.scanner import Scanner
from tests import broker
from tests.bench.kafka import PARTITIONS, SESSIONS_A_SECOND, SHAPES, produce
from tests.bench.sessions import bodies
from tests.service.running import RUN, running

CONNECTOR = {
    "exclude_dimensions": ["service.name", "span.name", "span.kind"],
    "dimensions": [{"name": "gen_ai.agent.name"}, {"name": "tenant.id"}, {"name": "gen_ai.operation.name"}],
    "histogram": {"exponential": {"max_size": 160}},
    "metrics_flush_interval": "15s",
}
"""What the spanmetrics connector is to keep."""
CONFIG = """
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
  kafka:
    brokers: ["{broker}"]
    group_id: collector
    initial_offset: earliest
    traces: {{topics: [{topics}], encoding: otlp_proto}}
connectors:
  span_metrics: {connector}
exporters:
  prometheus: {{endpoint: "127.0.0.1:{metrics}"}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines:
    traces: {{receivers: [{receivers}], exporters: [span_metrics]}}
    metrics: {{receivers: [span_metrics], exporters: [prometheus]}}
"""
WARM, LONGER = 40, 4
"""Requests before; and how many times the stream of tests.bench.kafka: what is written out now and then is to be small
beside what is read."""
PATIENCE_S, LOOK_S = 120.0, 5.0
CASES = {
    "OTLP/HTTP": ("256 KiB batches", None), "Kafka, 256 KiB batches": ("256 KiB batches", 4.0),
    "Kafka, a trace a record": ("a trace a record", None),
}  # fmt: skip
"""The shape of each, and how many times as fast we would be."""
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Deployed:
    """A process that reads spans. `spans` is how many its metrics page shows."""

    process: "subprocess.Popen[bytes]"
    door: str
    spans: Callable[[], float]

    def cpu_s(self) -> float:
        """CPU time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def wait(self, spans: float) -> None:
        """Until it shows so many; looked at seldom, for looking costs it time."""
        until_s = time.monotonic() + PATIENCE_S
        while (seen := self.spans()) < spans:
            assert self.process.poll() is None and time.monotonic() < until_s, f"{seen} of {spans} spans"
            time.sleep(LOOK_S)


def _sum(url: str, name: str) -> float:
    try:
        page = httpx.get(url, trust_env=False, timeout=30).text
    except httpx.ConnectError:
        return 0.0
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)", page, re.MULTILINE))


@contextmanager
def collector(path: Path, directory: Path, topic: str, kafka: str) -> Iterator[Deployed]:
    """The connector between a door and Prometheus."""
    otlp, metrics = broker.free_port(), broker.free_port()
    config = directory / "collector.yaml"
    receivers = "kafka" if topic else "otlp"
    places = {"otlp": otlp, "metrics": metrics, "broker": kafka, "topics": topic or "none", "receivers": receivers}
    config.write_text(CONFIG.format(connector=json.dumps(CONNECTOR), **places))
    with (directory / "collector.log").open("wb") as log:
        process = subprocess.Popen([str(path), "--config", str(config)], stdout=log, stderr=log)
    try:
        page = f"http://127.0.0.1:{metrics}/metrics"
        yield Deployed(process, f"http://127.0.0.1:{otlp}", lambda: _sum(page, "traces_span_metrics_calls_total"))
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def tocsin(directory: Path, topic: str = "", kafka: str = "", command: Sequence[str] = RUN) -> Iterator[Deployed]:
    """The daemon with the rules and the decoder that it is shipped with."""
    told = {"KAFKA__BOOTSTRAP_SERVERS": kafka, "KAFKA__TOPICS": topic} if topic else {}
    with running(directory, command, DECODER="compiled", **told) as daemon:
        door, web = daemon.addresses()
        yield Deployed(daemon.process, door, lambda: _sum(f"{web}/metrics", "tocsin_spans_total"))
        daemon.stop()


def over_http(deployed: Deployed, sent: Sequence[bytes], spans: int, warm: Sequence[bytes], before: int) -> float:
    """CPU seconds for these bodies, posted one after another."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        post(client, deployed, warm)
        deployed.wait(before)
        begun = deployed.cpu_s()
        post(client, deployed, sent)
        took = deployed.cpu_s() - begun  # Each answer said that its body was read.
        deployed.wait(before + spans)
    return took


def post(client: httpx.Client, deployed: Deployed, sent: Sequence[bytes]) -> None:
    """Send these bodies, one after another, as soon as it listens."""
    for body in sent:
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = client.post(
                    f"{deployed.door}/v1/traces", content=body, headers={"Content-Type": "application/x-protobuf"}
                )
                break
            except httpx.ConnectError:  # It has not begun to listen.
                status = deployed.process.poll()
                assert status is None, f"{deployed.process.args!r}: status {status}. Has it what CONFIG names?"
                assert time.monotonic() < until_s, f"{deployed.process.args!r} does not listen"
                time.sleep(0.1)
        assert answer.status_code == 200, answer.text


def from_kafka(
    deployed: Deployed, sent: Sequence[bytes], spans: int, warm: Sequence[bytes], before: int, kafka: str, topic: str
) -> float:
    """CPU seconds for these records, written while it waits for them."""
    asyncio.run(produce(kafka, topic, "lz4", warm))
    deployed.wait(before)
    begun = deployed.cpu_s()
    asyncio.run(produce(kafka, topic, "lz4", sent))
    deployed.wait(before + spans)
    return deployed.cpu_s() - begun


@dataclass(frozen=True)
class Case:
    """What is sent: `sent` after `warm`, which hold so many spans; over HTTP if there is no topic."""

    name: str
    goal: float | None
    kafka: str
    warm: Sequence[bytes]
    sent: Sequence[bytes]
    warm_spans: int
    spans: int

    def measured(self, deployed: Deployed, topic: str) -> float:
        """CPU seconds for `sent`."""
        given = (deployed, self.sent, self.spans, self.warm, self.warm_spans)
        return from_kafka(*given, self.kafka, topic) if topic else over_http(*given)


def cases(kafka: str) -> Iterator[Case]:
    """All of them."""
    scanner = Scanner()
    warm = bodies(WARM, SESSIONS_A_SECOND, 2, -WARM * SECOND_NS)
    for name, (shape, goal) in CASES.items():
        records, sessions = SHAPES[shape]
        sent = bodies(LONGER * records, sessions, every_ns=SECOND_NS * sessions // SESSIONS_A_SECOND)
        counts = [sum(scanner.scan([body]).n_spans for body in each) for each in (warm, sent)]
        yield Case(name, goal, kafka, warm, sent, *counts)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collector", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if reason := broker.missing():
        parser.error(reason)
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as at, broker.running(Path(at)) as kafka:
        for case in cases(kafka.address):
            took: dict[str, list[float]] = {"collector": [], "tocsin": []}
            for number, name in itertools.product(range(given.rounds), took):
                here = Path(at) / f"{name}-{len(case.sent)}-{number}{case.name[0]}"
                here.mkdir()
                topic = here.name if case.name.startswith("Kafka") else ""
                if topic:
                    broker.make_topics(kafka.address, {topic: PARTITIONS})
                read_by_rival = collector(given.collector, here, topic, kafka.address)
                with read_by_rival if name == "collector" else tocsin(here, topic, kafka.address) as deployed:
                    took[name].append(case.measured(deployed, topic))
            _print(given.json, case, {name: case.spans / 1000 / statistics.median(s) for name, s in took.items()})
    return 0


def _print(as_json: bool, case: Case, speed: dict[str, float]) -> None:
    ratio, goal = speed["tocsin"] / speed["collector"], case.goal
    holds = None if goal is None else ratio >= goal
    if as_json:
        row = {"bench": "collector", "case": case.name, "metric": "tocsin / collector", "value": round(ratio, 2),
               "unit": "x", "goal": None if goal is None else f">= {goal:g}", "holds": holds}  # fmt: skip
        print(json.dumps(row), flush=True)
        return
    told = "".join(f"{name} {value:5.0f}  " for name, value in speed.items())
    wanted = "" if goal is None else f"goal >= {goal:g}" + ("" if holds else " MISSED")
    print(f"{case.name:28} k spans a CPU second: {told} ratio {ratio:.2f} {wanted}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
