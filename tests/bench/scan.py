"""How fast traces are read, one core: beside protobuf's decoder, beside plain Python, beside a checksum of the bytes.

    python -m tests.bench.scan

Sessions of 50 agents for 40 tenants, of about nine spans each, in requests of a few hundred spans. Everything reads the
same bytes, in turns; CPU time of the thread, median of the rounds. `plain` is what a script would do: protobuf's
messages, and a dict for each tenant, agent and operation with counts, errors, tokens, cost and a histogram. `whole` is
all of ingest, which goes on from round to round, each 24 s of a stream of its own; it has seen --warm rounds before.
"""

import argparse
import gc
import json
import math
import statistics
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from detectors.core.columns import SECOND_NS, SLOT_NS
from service.batch import Record, Signal, Tally
from service.ingest.decode import Decoder
from service.ingest.limits import IngestLimits
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.stage import Ingest
from tests.bench.sessions import BEGIN_NS, bodies

BODIES = 24
WANTED = ("gen_ai.agent.name", "tenant.id", "gen_ai.operation.name", "gen_ai.usage.input_tokens",
          "gen_ai.usage.output_tokens", "gen_ai.usage.cost", "session.outcome")  # fmt: skip


Reader = Callable[[Sequence[bytes]], object]


def each(read: Callable[[bytes], object]) -> Reader:
    """A reader that does the same with every body."""

    def read_all(sent: Sequence[bytes]) -> None:
        for body in sent:
            read(body)

    return read_all


class Plain:
    """The yardstick: what nobody tuned."""

    def __init__(self) -> None:
        self.series: dict[Any, dict[str, Any]] = {}

    def read(self, body: bytes) -> None:
        """Add one body up."""
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self._add(span)

    def _add(self, span: Any) -> None:
        said = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
        agent, tenant, operation, tokens_in, tokens_out, cost, outcome = map(said.get, WANTED)
        end_ns = span.end_time_unix_nano
        key = (tenant, agent, operation, end_ns - end_ns % SLOT_NS)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = {"n": 0, "failed": 0, "in": 0, "out": 0, "cost": 0.0,
                                         "buckets": defaultdict(int), "outcomes": defaultdict(int)}  # fmt: skip
        series["n"] += 1
        series["failed"] += span.status.code == 2
        series["in"] += tokens_in or 0
        series["out"] += tokens_out or 0
        series["cost"] += cost or 0.0
        series["buckets"][math.ceil(8 * math.log2(max(end_ns - span.start_time_unix_nano, 1) / 1e9))] += 1
        if outcome:
            series["outcomes"][outcome] += 1


class Whole:
    """All of ingest: decoded, joined, priced, added up into slots. A session is sent when it is over, so it waits."""

    def __init__(self, given: Decoder) -> None:
        limits = IngestLimits(lateness_ns=120 * SECOND_NS)
        self.ingest, self.tally, self.now_ns = Ingest(limits, decoder=given), Tally(), BEGIN_NS

    def read(self, body: bytes) -> None:
        """Take in one body, and the slots that it closes."""
        self.now_ns += SECOND_NS
        self.ingest.read(Record(Signal.TRACES, body, "p"), self.now_ns, self.tally)
        for _ in self.ingest.closed_slots(self.now_ns, self.tally):
            pass

    def read_all(self, sent: Sequence[bytes]) -> None:
        """Take in all of them, one by one."""
        for body in sent:
            self.read(body)
        late = self.tally.dropped.total()
        assert late < self.tally.spans / 1_000, self.tally.dropped


def measured(makers: dict[str, Callable[[], Reader]], rounds: Iterable[Sequence[bytes]]) -> Any:
    """CPU seconds of each reader for all bodies, by name: medians of rounds in which they take turns."""
    took: dict[str, list[float]] = {name: [] for name in makers}
    for sent in rounds:
        for name, make in makers.items():
            read = make()  # And the last one is freed, before the clock runs.
            begun = time.thread_time()
            read(sent)
            took[name].append(time.thread_time() - begun)
    return {name: statistics.median(seconds) for name, seconds in took.items()}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    scanner = Scanner()
    rounds = [
        bodies(BODIES, 55, number + 1, number * BODIES * SECOND_NS) for number in range(given.warm + given.rounds)
    ]
    sent = rounds[0]
    spans = sum(scanner.scan([body]).n_spans for body in sent)
    whole = Whole(Scanner())
    for read in rounds[: given.warm]:
        whole.read_all(read)
    gc.set_threshold(50_000, 20, 50)  # As the daemon does.
    makers: dict[str, Callable[[], Reader]] = {
        "crc32": lambda: each(zlib.crc32),
        "protobuf decode": lambda: each(ExportTraceServiceRequest.FromString),
        "scan to columns": lambda: each(lambda body: scanner.scan([body])),
        "plain": lambda: each(Plain().read),
        "whole": lambda: whole.read_all,
    }
    took = measured(makers, rounds[given.warm :])
    took |= measured({"whole, by protobuf": lambda: Whole(ProtobufDecoder()).read_all}, rounds[:3])
    if not given.json:
        print(f"{spans} spans in {len(sent)} bodies, {sum(map(len, sent)) / spans:.0f} bytes a span")
    goals = {"whole": ("plain", 20.0), "scan to columns": ("protobuf decode", 1.4)}
    for name, seconds in took.items():
        _print(given.json, name, "cost", seconds / spans * 1e6, "us/span", None, None)
        if name in goals:
            rival, least = goals[name]
            _print(given.json, f"{name}, beside {rival}", "speed", took[rival] / seconds, "x", f">= {least:g}", least)
    share = took["crc32"] / took["scan to columns"]
    _print(given.json, "scan to columns, beside crc32", "speed", share, "x", ">= 0.33", 1 / 3)
    return 0


def _print(
    as_json: bool, case: str, metric: str, value: float, unit: str, goal: str | None, least: float | None
) -> None:
    holds = None if least is None else value >= least
    if as_json:
        row = {"bench": "scan", "case": case, "metric": metric, "value": round(value, 3), "unit": unit}
        print(json.dumps(row | {"goal": goal, "holds": holds}), flush=True)
    else:
        missed = "" if holds or goal is None else "MISSED"
        print(f"{case:40} {metric:6} {value:9.3f} {unit:8} {'goal ' + goal if goal else '':12} {missed}")


if __name__ == "__main__":
    raise SystemExit(main())
