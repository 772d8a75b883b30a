"""A real OpenTelemetry Collector with tail sampling, as `make collector` builds it: spans in, what it keeps out."""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.sources.otlp_http import PROTOBUF
from tests import broker
from tests.otlp_sink import taking

BINARY = Path(__file__).parents[2] / ".cache" / "otelcol" / "otelcol"
GATE = "--feature-gates=processor.tailsamplingprocessor.recordpolicy"
DECISION_S = 1
CONFIG = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{door}"}}}}}}}}
processors:
  tail_sampling: {{decision_wait: {decision}s, num_traces: 1000000, expected_new_traces_per_sec: 20000, policies: []}}
  batch: {{send_batch_size: 4096, send_batch_max_size: 8192, timeout: 200ms}}
exporters:
  otlphttp:
    traces_endpoint: http://127.0.0.1:{sink}/
    compression: gzip
    sending_queue: {{block_on_overflow: true}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines: {{traces: {{receivers: [otlp], processors: [tail_sampling, batch], exporters: [otlphttp]}}}}
"""
PASSING = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{door}"}}}}}}}}
exporters: {{otlphttp/0: {{endpoint: "{first}"}}, otlphttp/1: {{endpoint: "{second}"}}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlphttp/0, otlphttp/1]}}
    logs: {{receivers: [otlp], exporters: [otlphttp/0, otlphttp/1]}}
"""
START_S, STOP_S = 30.0, 60.0


def missing(path: Path = BINARY) -> str:
    """What keeps this machine from running the Collector; empty if nothing does."""
    return "" if path.exists() else "no OpenTelemetry Collector here: run `make collector` (needs Go)"


def validated(path: Path, configs: Sequence[str]) -> str:
    """What the Collector says against these files or addresses together; empty if they are valid."""
    options = [option for config in configs for option in ("--config", config)]
    done = subprocess.run([str(path), GATE, "validate", *options], capture_output=True, text=True, timeout=START_S)
    return "" if done.returncode == 0 else done.stderr or done.stdout


def kept(path: Path, directory: Path, policies: str, bodies: Iterable[bytes]) -> list[bytes]:
    """The bodies of spans that come out of a Collector with these policies, once all of `bodies` were decided."""
    (directory / "policies.yaml").write_text(policies)
    found: list[bytes] = []

    def take(path: str, headers: Mapping[str, str], body: bytes) -> int:
        found.append(body)
        return 200

    with (
        taking(take) as sink,
        _running(path, directory, CONFIG, "policies.yaml", sink=sink, decision=DECISION_S) as (door, stop),
    ):
        with httpx.Client(trust_env=False, timeout=60) as client:
            for body in bodies:
                answer = client.post(f"{door}/v1/traces", content=body, headers={"Content-Type": PROTOBUF})
                assert answer.status_code == 200, answer.text
        time.sleep(DECISION_S + 2)
        stop()
    return found


@contextmanager
def passing(path: Path, directory: Path, first: str, second: str) -> Iterator[str]:
    """The door of a Collector that passes spans and log records on to these OTLP/HTTP doors."""
    with _running(path, directory, PASSING, first=first, second=second) as (door, _):
        yield door


@contextmanager
def _running(
    path: Path, directory: Path, text: str, *more: str, **words: object
) -> Iterator[tuple[str, Callable[[], None]]]:
    """The Collector's door, and what ends it: it then decides what it still holds. `more` are files beside its own."""
    door = broker.free_port()
    (directory / "collector.yaml").write_text(text.format(door=door, **words))
    log = directory / "collector.log"
    files = [option for name in ("collector.yaml", *more) for option in ("--config", str(directory / name))]
    with log.open("wb") as out:
        process = subprocess.Popen([str(path), GATE, *files], stdout=out, stderr=out)

    def stop() -> None:
        process.terminate()
        process.wait(STOP_S)

    try:
        until_s = time.monotonic() + START_S
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{door}/", trust_env=False)
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < until_s, log.read_text()
                time.sleep(0.05)
        yield f"http://127.0.0.1:{door}", stop
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(STOP_S)
