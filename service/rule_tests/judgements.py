"""Evaluations of a test as OTLP log records: what came of sessions, or what judges them, in words."""

from collections.abc import Sequence

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from detectors.core.columns import SECOND_NS, TICK_NS
from service.ingest.otlp.wanted import EVALUATION_EVENT
from service.rule_tests.written import Evaluations


def judged(all_: Sequence[Evaluations], minute_ns: int, zero_ns: int, rng: np.random.Generator) -> bytes:
    """The body of all that is evaluated in a minute: while rules learn, in its first second, as sessions are."""
    request = ExportLogsServiceRequest()
    until_ns = minute_ns + (SECOND_NS if minute_ns < zero_ns else TICK_NS)
    for one in all_:
        change = next((each for each in reversed(one.changes) if each.holds(minute_ns - zero_ns)), None)
        rate = change.rate if change is not None and change.rate is not None else one.rate
        words = change.words if change is not None and change.words is not None else one.words
        assert rate is not None and words is not None
        said = {"gen_ai.evaluation.name": one.evaluation, "gen_ai.agent.name": one.agent, "tenant.id": one.tenant}
        logs = request.resource_logs.add().scope_logs.add()
        left = max(0.0, 1.0 - sum(words.values()))
        counts = rng.multinomial(rng.poisson(rate * TICK_NS / SECOND_NS), [*words.values(), left])
        for word, count in zip(words, counts.tolist(), strict=False):
            for at_ns in rng.integers(minute_ns, until_ns, count).tolist():
                record = logs.log_records.add(time_unix_nano=at_ns, event_name=EVALUATION_EVENT)
                for name, value in (*said.items(), ("gen_ai.evaluation.score.label", word)):
                    if value:
                        record.attributes.add(key=name).value.string_value = value
    return request.SerializeToString()
