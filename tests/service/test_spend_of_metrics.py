"""Cost that only metrics tell: whose it is, and that the shipped rules page of it."""

import numpy as np
import pytest

from alertrules.lifecycle import AlertState
from alertrules.parse import PACKS, load
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline
from tests.service.ingest.test_metrics import DELTA, counter, metered, points
from tests.service.ingest.wire import Stream, agent, at_ns, body, chat

DAY = 1440


def told(stream: Stream, *bodies: tuple[float, bytes, Signal]) -> list[tuple[object, float]]:
    """The labels and dollars of the cells that cost."""
    for at_s, raw, signal in bodies:
        stream.send_bytes(raw, at_s, "m/0" if signal is Signal.METRICS else "p/0", signal)
    rows = stream.flush().rows()
    return [(row["labels"][:3], float(str(row["cost_usd"]))) for row in rows if row["cost_usd"]]  # type: ignore[index]


def spent(dollars: float, at: float, tenant: str = "acme") -> bytes:
    return points(counter("agent.cost.usd", dollars, at, at - 60, DELTA, agent="helper", tenant=tenant))


def closed(at: float, tenant: str = "acme") -> bytes:
    labels = {"agent": "helper", "tenant": tenant, "outcome": "resolved"}
    return points(counter("agent.session.outcome", 3, at, at - 60, DELTA, **labels))


def test_cost_is_of_sessions_where_they_are_told() -> None:
    """By metrics, whichever comes first in a body, or by spans; else it is spend. By tenant and agent."""
    both = points(
        counter("agent.cost.usd", 2.0, 60, 10, DELTA, agent="helper", tenant="acme"),
        counter("agent.session.outcome", 3, 60, 10, DELTA, agent="helper", tenant="acme", outcome="resolved"),
    )
    assert told(metered(names=False), (61, both, Signal.METRICS)) == [(("acme", "helper", "session"), 2.0)]
    assert told(metered(names=False), (61, spent(2.0, 60), Signal.METRICS)) == [(("acme", "helper", "spend"), 2.0)]
    other = ((61, closed(60, "umbrella"), Signal.METRICS), (62, spent(2.0, 61), Signal.METRICS))
    assert told(metered(names=False), *other) == [(("acme", "helper", "spend"), 2.0)]
    rooted = body(agent(1, 1, 0, 9, tenant__id="acme"), chat(1, 2, 1, 3, 1, gen_ai__request__model="own"))
    late = body(agent(2, 1, 300, 309, tenant__id="acme"), resource={"service.name": "else"})
    spans = ((10, rooted, Signal.TRACES), (310, late, Signal.TRACES), (312, spent(2.0, 311), Signal.METRICS))
    assert told(metered(names=False), *spans) == [(("acme", "helper", "session"), 2.0)]


@pytest.mark.parametrize("with_sessions", [False, True])
def test_the_shipped_rules_page_of_cost_that_metrics_tell(with_sessions: bool) -> None:
    """Spend of three times this hour's; where sessions are told, those that are as dear, not those that are as many."""
    rules, rng = load([PACKS]), np.random.default_rng(3)
    one, found = Pipeline(IngestLimits(), rules, 0), list[tuple[str, dict[str, str], int]]()
    many, dear = (5 * DAY + 200, 5 * DAY + 320), (6 * DAY + 200, 6 * DAY + 320)
    for minute in range(0, 6 * DAY + 400, 5):  # As exporters that speak every five minutes.
        busy = 30 + 15 * np.sin(minute / DAY * 2 * np.pi)
        n = rng.poisson(busy * (3 if with_sessions and many[0] <= minute < many[1] else 1), 2)
        at, factor = 60.0 * minute + 30, np.array([3.0 if dear[0] <= minute < dear[1] else 1.0, 1.0])
        usd = [float(f * rng.lognormal(-3, 0.6, k).sum()) for f, k in zip(factor, n, strict=True)]
        metrics = []
        for who, sessions, dollars in zip(("dear", "even"), n.tolist(), usd, strict=True):
            metrics.append(counter("agent.cost.usd", dollars, at, at - 300, DELTA, agent=who, tenant="acme"))
            if with_sessions:
                ended = {"agent": who, "tenant": "acme", "outcome": "resolved"}
                metrics.append(counter("agent.session.outcome", sessions, at, at - 300, DELTA, **ended))
        outcome = one.step(Batch((Record(Signal.METRICS, points(*metrics), "m/0"),), {}), at_ns(at + 1))
        found += [
            (each.rule, dict(each.labels), round(each.at_ns - at_ns(0)) // 60_000_000_000)
            for each in outcome.transitions
            if each.after is AlertState.FIRING and each.before is not AlertState.RECOVERING
        ]
    rule = "AgentCostUp" if with_sessions else "AgentSpendUp"
    assert [(name, labels) for name, labels, _ in found] == [(rule, {"agent": "dear", "tenant": "acme"})]
    assert dear[0] < found[0][2] <= dear[0] + 60
