"""Late outcomes as an OTLP body of evaluations: so they count in series as every evaluation does.

Each counts in the slot of its time, or where that is closed, in the first open one: what was judged stays as it was. It
names no session and no trace, so that it is not taken for a late outcome once more.
"""

from collections.abc import Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from detectors.core.columns import SECOND_NS
from service.batch import LATE_PARTITION, Record, Signal
from service.ingest.otlp.wanted import EVALUATION_EVENT
from service.ledger.late_rows import Joined
from service.ledger.sessions import Sessions
from service.sources.arrival import Arrival, Arrivals

BEHIND_NS = 1800 * SECOND_NS
"""What is older than this counts as if it were not: metrics and evaluations of more than an hour ago count nowhere."""

COUNTED_AT_ONCE = 1_000
"""Late outcomes in one body."""


def count_late(sessions: Sessions, arrivals: Arrivals, now_ns: int) -> None:
    """Put late outcomes whose session became known on the queue of what comes in, if there is room."""
    if not arrivals.full() and (joined := sessions.to_count(COUNTED_AT_ONCE)):
        arrivals.put_nowait(Arrival((record_of(joined, now_ns),), {}))


def record_of(joined: Sequence[Joined], now_ns: int) -> Record:
    """The body that tells of these."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for one in joined:
        at_ns = max(one.at_ns, now_ns - BEHIND_NS)
        log = scope.log_records.add(time_unix_nano=at_ns, event_name=EVALUATION_EVENT)
        word = one.value if one.good is None else "pass" if one.good else "fail"
        has_number = one.number == one.number
        said = {
            "gen_ai.evaluation.name": one.name,
            "gen_ai.evaluation.score.label": "" if has_number and one.good is None else word,
            "gen_ai.agent.name": one.agent,
            "gen_ai.agent.version": one.version,
            "tenant.id": one.tenant,
        }
        for name, text in said.items():
            if text:
                log.attributes.add(key=name).value.string_value = text
        if has_number:
            log.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = one.number
    return Record(Signal.LOGS, request.SerializeToString(), LATE_PARTITION)
