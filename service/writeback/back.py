"""Outcomes as they are joined to sessions, and each week what foretold bad ends, on their way out of Tocsin."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from alertrules.outcome_classes import Outcomes
from service.ledger.cohorts import cohorts
from service.ledger.histories import days_ago, histories
from service.ledger.late_rows import Joined
from service.ledger.session_file import reading
from service.writeback.evaluations import of_outcome, of_sign
from service.writeback.sending import Fact, Sending

LOOKS_BACK_DAYS = 30.0
"""Of sessions that ended so long before a Monday: one week of them would show little."""
FOREBODING_MAX = 200
"""Signs that one week writes, those of the strongest evidence."""


def sending(endpoint: str, headers: dict[str, str], may_send: Callable[[], bool]) -> Sending:
    """What sends to the OTLP/HTTP door with this base URL, while it may."""
    base = endpoint.rstrip("/")
    spans = OTLPSpanExporter(f"{base}/v1/traces", headers=headers, compression=Compression.Gzip)
    events = OTLPLogExporter(f"{base}/v1/logs", headers=headers, compression=Compression.Gzip)
    return Sending(spans, events, base, may_send)


class WriteBack:
    """What the record of sessions tells onward. `directory` is where that record is."""

    def __init__(
        self, sending: Sending, directory: Path, outcomes: Callable[[], Outcomes], now_ns: Callable[[], int]
    ) -> None:
        self.sending, self._directory, self._outcomes, self._now_ns = sending, directory, outcomes, now_ns

    def outcome(self, joined: Joined) -> None:
        """Write an outcome."""
        self.sending.add([partial(of_outcome, joined, self._now_ns())])

    def week(self, monday_ns: int) -> None:
        """Write what foretold bad ends before that Monday: worked out beside the daemon's own work."""
        self.sending.later(partial(self._signs, monday_ns))

    def _signs(self, monday_ns: int) -> list[Fact]:
        with closing(reading(self._directory)) as connection:
            since_ns = days_ago(monday_ns, LOOKS_BACK_DAYS)
            found = cohorts(histories(connection, since_ns, self._outcomes(), until_ns=monday_ns))
        now_ns = self._now_ns()
        return [partial(of_sign, one, monday_ns, now_ns) for one in found.believed[:FOREBODING_MAX]]
