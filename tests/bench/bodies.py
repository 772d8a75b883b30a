"""What the largest bodies that are read take in memory meanwhile, and how long one takes.

    python -m tests.bench.bodies [--json]

Each body is just under a bound: 64 MiB, 300,000 messages of protobuf, or 800,000 signs of JSON. It is read in a process
of its own. Printed are the seconds, the peak of resident memory above what there was before, the body being held
already, and what of that is still held afterwards: spans wait for their slots.
"""

import argparse
import json
import resource
import struct
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from service.batch import Record, Signal, Tally
from service.ingest.limits import IngestLimits
from service.ingest.otlp.elements import MESSAGES_MAX, SIGNS_MAX
from service.ingest.stage import Ingest
from tests.bench.memory import resident
from tests.service.ingest.test_elements import JSON_NAMES, held, within
from tests.service.ingest.wire import at_ns

BODY_MAX = 64 << 20
MEMORY_MAX = 8 << 30
"""Above it the process fails instead of the machine."""


def span(number: int, *more: bytes) -> bytes:
    """A span of one second, as a field of its scope."""
    ids = held(1, struct.pack(">2Q", 1, number)) + held(2, struct.pack(">Q", number))
    times = b"\x39" + struct.pack("<Q", at_ns(1000)) + b"\x41" + struct.pack("<Q", at_ns(1001))
    return held(2, ids, times, *more)


def attribute(number: int, name: int, text: int = 1) -> bytes:
    """One with a name of its own, and a text of so many bytes: two messages."""
    return held(number, held(1, b"name-%d" % name), held(2, held(1, b"x" * text)))


def packed(signal: Signal, one: Callable[[int], bytes], messages: int, *numbers: int) -> tuple[Signal, bytes]:
    """As many as may be, each of so many messages, within the fields of these numbers."""
    return signal, within(*numbers)(b"".join(map(one, range(1, (MESSAGES_MAX - 10) // messages))))


def written(signal: Signal, inner: str, one: str) -> tuple[Signal, bytes]:
    """As many as may be in JSON; `inner` is what stands around them, with a % for them."""
    signs = sum(map(one.count, "{[,:")) + 1
    many = ",".join([one] * ((SIGNS_MAX - 50) // signs))
    return signal, f'{{"{JSON_NAMES[signal]}": [{inner.replace("%", many)}]}}'.encode()


def text(sign: str) -> tuple[Signal, bytes]:
    """One long text that begins with this sign."""
    body = '{"stringValue": "' + sign + "x" * (BODY_MAX - 200) + '"}'
    return written(Signal.LOGS, f'{{"scopeLogs": [{{"logRecords": [{{"body": {body}}}]}}]}}', "{}")


TIME = b"\x19" + struct.pack("<Q", at_ns(1001))
SPAN = '{"traceId": "0123456789abcdef0123456789abcdef", "spanId": "0123456789abcdef", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}'  # noqa: E501
BODIES: dict[str, Callable[[], tuple[Signal, bytes]]] = {
    "spans": lambda: packed(Signal.TRACES, span, 1, 1, 2),
    "spans with an attribute": lambda: packed(Signal.TRACES, lambda n: span(n, attribute(9, n, 550)), 3, 1, 2),
    "attributes of a span": lambda: packed(Signal.TRACES, lambda n: attribute(9, n, 400), 2, 1, 2, 2),
    "log records": lambda: packed(Signal.LOGS, lambda n: held(2), 1, 1, 2),
    "log records with a text": lambda: packed(Signal.LOGS, lambda n: held(2, held(5, held(1, b"x" * 400))), 2, 1, 2),
    "attributes of a log record": lambda: packed(Signal.LOGS, lambda n: attribute(6, n, 400), 2, 1, 2, 2),
    "points": lambda: packed(Signal.METRICS, lambda n: held(1, TIME), 1, 1, 2, 2, 5),
    "points with an attribute": lambda: packed(
        Signal.METRICS, lambda n: held(1, TIME, attribute(7, n, 600)), 3, 1, 2, 2, 5
    ),
    "points of an exponential histogram": lambda: packed(
        Signal.METRICS, lambda n: held(1, TIME, held(8), held(9)), 3, 1, 2, 2, 10
    ),
    "spans in JSON": lambda: written(Signal.TRACES, '{"scopeSpans": [{"spans": [%]}]}', SPAN),
    "empty spans in JSON": lambda: written(Signal.TRACES, '{"scopeSpans": [{"spans": [%]}]}', "{}"),
    "lists in JSON": lambda: written(Signal.LOGS, "%", "[[[[]]]]"),
    "a text in JSON": lambda: text("x"),
    "a text in JSON with an emoji": lambda: text("\U0001f600"),
}


def peak_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def measured(name: str) -> dict[str, str | float]:
    """One body, read in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    signal, body = BODIES[name]()
    ingest, tally = Ingest(IngestLimits()), Tally()
    before = resident() >> 10
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    begun_s = time.perf_counter()
    answer = ingest.read(Record(signal, body, "otlp"), at_ns(1002), tally)
    seconds, peak = time.perf_counter() - begun_s, peak_kib()
    return {
        "body": name, "mib": round(len(body) / 2**20, 1), "seconds": round(seconds, 2),
        "peak_mib": (peak - before) >> 10, "kept_mib": (resident() >> 10) - before >> 10,
        "answer": (answer.error or answer.message or "read")[:60],
    }  # fmt: skip


def main() -> None:
    """Measure them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    for name in BODIES:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            found = alone.submit(measured, name).result()
        if as_json:
            print(json.dumps(found), flush=True)
        else:
            print(
                "{body:36} {mib:5} MiB {seconds:6} s  peak {peak_mib:5} MiB  kept {kept_mib:5} MiB  {answer}".format(
                    **found
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
