"""The plain aggregate of tests.bench.scan in other stream processors; runs in a Python that has them, alone.

    python processors.py quixstreams|faust BROKER TOPIC GROUP RECORDS

Prints the CPU seconds from start to the last record, as JSON.
"""

import json
import math
import os
import sys
import time
from collections import defaultdict
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WANTED = ("gen_ai.agent.name", "tenant.id", "gen_ai.operation.name", "gen_ai.usage.input_tokens",
          "gen_ai.usage.output_tokens", "gen_ai.usage.cost", "session.outcome")  # fmt: skip
SLOT_NS = 10_000_000_000
series: dict[Any, dict[str, Any]] = {}


def read(body: bytes) -> None:
    """Add one body up."""
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                add(span)


def add(span: Any) -> None:
    """Add one span up."""
    said = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
    agent, tenant, operation, tokens_in, tokens_out, cost, outcome = map(said.get, WANTED)
    end_ns = span.end_time_unix_nano
    key = (tenant, agent, operation, end_ns - end_ns % SLOT_NS)
    held = series.get(key)
    if held is None:
        held = series[key] = {"n": 0, "failed": 0, "in": 0, "out": 0, "cost": 0.0, "buckets": defaultdict(int),
                              "outcomes": defaultdict(int)}  # fmt: skip
    held["n"] += 1
    held["failed"] += span.status.code == 2
    held["in"] += tokens_in or 0
    held["out"] += tokens_out or 0
    held["cost"] += cost or 0.0
    held["buckets"][math.ceil(8 * math.log2(max(end_ns - span.start_time_unix_nano, 1) / 1e9))] += 1
    if outcome:
        held["outcomes"][outcome] += 1


class Count:
    """Records still to come, and the time since the first was asked for."""

    def __init__(self, records: int) -> None:
        self.left, self.begun = records, time.process_time()

    def read(self, body: bytes) -> None:
        """Read one record; the last one ends the process."""
        read(body)
        self.left -= 1
        if self.left == 0:
            said = json.dumps({"cpu_s": time.process_time() - self.begun})
            os.write(1, f"\n{said}\n".encode())  # Past faust, which takes what is printed for a log line.
            os._exit(0)


def main() -> None:
    """Run one of them."""
    name, address, topic, group, records = sys.argv[1:]
    if name == "quixstreams":
        from quixstreams import Application  # type: ignore[import-not-found]

        app = Application(broker_address=address, consumer_group=group, auto_offset_reset="earliest")
        frame = app.dataframe(app.topic(topic, value_deserializer="bytes"))
        count = Count(int(records))
        frame.update(count.read)
        app.run()
    else:
        import faust  # type: ignore[import-not-found]

        app = faust.App(group, broker=f"kafka://{address}", value_serializer="raw", topic_disable_leader=True)
        count = Count(int(records))

        @app.agent(app.topic(topic, value_type=bytes))  # type: ignore[untyped-decorator]
        async def agent(stream: Any) -> None:
            async for body in stream:
                count.read(body)

        sys.argv = ["processors", "worker", "-l", "error", "--without-web"]
        app.main()


if __name__ == "__main__":
    main()
