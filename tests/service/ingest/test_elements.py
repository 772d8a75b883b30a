"""Bodies are bounded by what is in them: small ones that would become gigabytes of objects are refused in time."""

import gzip
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.batch import Answer, Dropped, Record, Signal, Tally
from service.ingest.limits import IngestLimits
from service.ingest.otlp.elements import MESSAGES_MAX, SIGNS_MAX
from service.ingest.otlp.in_json import is_json
from service.ingest.stage import Ingest
from service.sources.otlp_http import JSON, PROTOBUF
from tests.service.ingest.wire import at_ns
from tests.service.running import running

SIZE = 24 << 20
SECONDS = 3.0
"""Far above what it takes, and far below what it took: the machine may be busy."""
JSON_NAMES = {Signal.TRACES: "resourceSpans", Signal.METRICS: "resourceMetrics", Signal.LOGS: "resourceLogs"}


def held(number: int, *parts: bytes) -> bytes:
    """A length-delimited field."""
    content, size, written = b"".join(parts), sum(map(len, parts)), b""
    while size > 127:
        size, written = size >> 7, written + bytes([size & 127 | 128])
    return bytes([number << 3 | 2]) + written + bytes([size]) + content


def within(*numbers: int) -> Callable[[bytes], bytes]:
    """Fields in one another, the outermost first."""

    def build(content: bytes) -> bytes:
        for number in reversed(numbers):
            content = held(number, content)
        return content

    return build


def many(unit: bytes, size: int = SIZE) -> bytes:
    return unit * (size // len(unit))


EMPTY = {
    "resources of logs": (Signal.LOGS, many(held(1))),
    "log records": (Signal.LOGS, within(1, 2)(many(held(2)))),
    "attributes of a log": (Signal.LOGS, within(1, 2, 2)(many(held(6)))),
    "values in the body of a log": (Signal.LOGS, within(1, 2, 2, 5, 5)(many(held(1)))),
    "numbers in a log": (Signal.LOGS, within(1, 2, 2)(many(b"\x10\x00"))),
    "unknown fields": (Signal.LOGS, many(held(15))),
    "resources of metrics": (Signal.METRICS, many(held(1))),
    "metrics": (Signal.METRICS, within(1, 2)(many(held(2)))),
    "points": (Signal.METRICS, within(1, 2, 2, 5)(many(held(1)))),
    "points of a histogram": (Signal.METRICS, within(1, 2, 2, 9)(many(held(1)))),
    "exemplars": (Signal.METRICS, within(1, 2, 2, 5, 1)(many(held(5)))),
    "quantiles": (Signal.METRICS, within(1, 2, 2, 11, 1)(many(held(6)))),
    "buckets": (Signal.METRICS, within(1, 2, 2, 10, 1, 8, 2)(bytes(SIZE))),
    "bounds": (Signal.METRICS, within(1, 2, 2, 9, 1, 7)(bytes(SIZE))),
    "names of an entity": (Signal.METRICS, within(1, 1, 3)(many(held(3)))),
}
"""Bodies of nothing, much of it: at every place of the messages where something may come again."""


def read(signal: Signal, body: bytes) -> tuple[Answer, Tally, float]:
    tally = Tally()
    ingest = Ingest(IngestLimits())
    begun_s = time.process_time()
    answer = ingest.read(Record(signal, body, "otlp"), at_ns(1000), tally)
    return answer, tally, time.process_time() - begun_s


@pytest.mark.parametrize("name", EMPTY)
def test_empty_messages(name: str) -> None:
    """Refused before an object is made of them, and the answer says what to do."""
    answer, tally, seconds = read(*EMPTY[name])
    assert answer.error is not None and "send smaller batches" in answer.error
    assert tally.dropped == {Dropped.TOO_LARGE: 1}
    assert seconds < SECONDS


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("unit", [b"{},", b"[],", b"0,", b'"ab",', b"1.5,", b'{"a":0},', b"[[[]]],", b'"\\"",'])
def test_values_of_json(signal: Signal, unit: bytes) -> None:
    """Whatever kind of value there are too many of."""
    body = b'{"%s": [' % JSON_NAMES[signal].encode() + many(unit) + unit[:-1] + b"]}"
    answer, tally, seconds = read(signal, body)
    assert answer.error is not None and f"with over {SIGNS_MAX} values; send smaller batches" in answer.error
    assert tally.dropped == {Dropped.TOO_LARGE: 1}
    assert seconds < SECONDS


@pytest.mark.parametrize("signal", Signal)
def test_what_could_be_either(signal: Signal) -> None:
    """A first line that is empty is also how protobuf begins: that is not found out by reading all of it."""
    body = b'\n{"%s": [' % JSON_NAMES[signal].encode() + many(b"{},") + b"{}]}"
    answer, _, seconds = read(signal, body)
    assert answer.error is not None
    assert seconds < SECONDS


def test_signs_in_texts_are_no_values() -> None:
    """A long text full of JSON, as conversations are, is one value; also with quotes and backslashes in it."""
    text = rb"{\"a\": [1, 2, \"\\\"\\\\\"]}, "
    body = (
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "'
        + many(text, 8 << 20)
        + b'"}}]}]}]}'
    )
    assert body.count(b",") + body.count(b":") > SIGNS_MAX
    assert is_json(body)
    answer, tally, _ = read(Signal.LOGS, body)
    assert answer.error is None and tally.logs == 1 and not tally.dropped[Dropped.TOO_LARGE]


def test_a_large_batch_is_read() -> None:
    """Just under the bound, and long texts, which take no more than they are long."""
    answer, tally, _ = read(Signal.LOGS, within(1, 2)(held(2) * (MESSAGES_MAX - 2)))
    assert answer.error is None and tally.logs == MESSAGES_MAX - 2
    answer, tally, _ = read(Signal.LOGS, within(1, 2, 2, 5, 1)(many(b"text")))
    assert answer.error is None and tally.logs == 1


@pytest.mark.parametrize("cut", [1, 5, 10, 1000])
def test_what_ends_too_early_is_malformed(cut: int) -> None:
    """As it is when it is small."""
    answer, tally, _ = read(Signal.LOGS, within(1, 2, 2, 5, 1)(many(b"text"))[:-cut])
    assert answer.error is not None and tally.dropped == {Dropped.MALFORMED: 1}


def test_a_daemon_that_is_sent_them_all(tmp_path: Path) -> None:
    """Each is some KB of gzip; besides bodies, of which it holds a few, next to nothing is taken for them."""
    with running(tmp_path, SAVE_EVERY="50ms") as daemon, httpx.Client(trust_env=False, timeout=30) as client:
        door, web = daemon.addresses()

        def peak_mb() -> int:
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{daemon.process.pid}/status").read_text())
            assert found
            return int(found[1]) >> 10

        before_mb = peak_mb()
        for signal, body in EMPTY.values():
            headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
            answer = client.post(f"{door}/v1/{signal}", content=gzip.compress(body, 6), headers=headers)
            assert answer.status_code == 400
        for signal, name in JSON_NAMES.items():
            headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
            packed = gzip.compress(b'{"%s": [' % name.encode() + many(b"{},") + b"{}]}")
            answer = client.post(f"{door}/v1/{signal}", content=packed, headers=headers)
            assert (answer.status_code, answer.json()["message"][-20:]) == (400, "send smaller batches")
        assert 'reason="too_large"} 18.0' in client.get(web + "/metrics").text
        assert peak_mb() - before_mb < 200
