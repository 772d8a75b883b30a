"""An OTLP/HTTP door that takes what is written back, and answers as it is told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.otlp_sink import taking


class Sink:
    """What came: groups of one resource each, and the headers of the last request. `status` is what is answered."""

    def __init__(self) -> None:
        self.status = 200
        self.tries = 0
        self.url = ""
        self.headers: dict[str, str] = {}
        self.traces: list[Any] = []
        self.logs: list[Any] = []

    @property
    def spans(self) -> list[Any]:
        return [span for group in self.traces for scope in group.scope_spans for span in scope.spans]

    @property
    def events(self) -> list[Any]:
        return [record for group in self.logs for scope in group.scope_logs for record in scope.log_records]

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            self.traces += ExportTraceServiceRequest.FromString(body).resource_spans
        else:
            assert path == "/v1/logs"
            self.logs += ExportLogsServiceRequest.FromString(body).resource_logs


@contextmanager
def sink() -> Iterator[Sink]:
    """One that listens."""
    one = Sink()

    def take(path: str, headers: Mapping[str, str], body: bytes) -> int:
        one.tries += 1
        one.headers = dict(headers)
        if one.status == 200:
            one.take(path, body)
        return one.status

    with taking(take) as port:
        one.url = f"http://127.0.0.1:{port}"
        yield one


def said(attributes: Any) -> dict[str, Any]:
    """Attributes by name."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
