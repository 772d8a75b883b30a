"""What has no price is not free: it is told, with its share and its model, and wakes nobody."""

from alertrules.parse import PACKS, combine, load, parse_rules
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Outcome, Pipeline
from tests.service.ingest.test_metrics import DELTA, counter, durations, points
from tests.service.ingest.wire import at_ns, body, chat

PACK = load([PACKS])


def stepped(one: Pipeline, minute: int, raw: bytes, signal: Signal = Signal.TRACES) -> Outcome:
    return one.step(Batch((Record(signal, raw, f"{signal}/0"),), {}), at_ns(60 * minute + 41))


def calls(minute: int, models: tuple[str, ...]) -> bytes:
    """Four calls of each model."""
    spans = [
        chat(1000 * minute + 10 * i + j, 1, 60 * minute + 30, 60 * minute + 31 + j, gen_ai__request__model=model)
        for i, model in enumerate(models)
        for j in range(4)
    ]
    return body(*spans)


def test_a_new_model_without_a_price_is_a_ticket() -> None:
    """Once, by its name, over a restart as well; nobody is paged, and the share is a gauge beside what is spent."""
    one, tickets, notices = Pipeline(IngestLimits(), PACK, 0), list[tuple[int, str]](), 0
    for minute in range(40):
        models = ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o-mini") if minute < 20 else ("gpt-4o-mini", "brand-new-9")
        outcome = stepped(one, minute, calls(minute, models))
        tickets += [(minute, line) for line in outcome.tickets]
        notices += len(outcome.notices)
        if minute == 19:
            assert one.unpriced() == {("", "shop"): 0.0}
        if minute in (10, 25):
            state, one = one.snapshot(), Pipeline(IngestLimits(), PACK, 0)
            one.restore(state)
    ((minute, ticket),) = tickets
    assert ticket.startswith(
        "AgentUnpriced: agent shop, model brand-new-9: calls without a known price 4 of 4 (100%, 40 to 100)"
    )
    assert 20 <= minute <= 24 and not notices
    assert 0.1 < one.unpriced()["", "shop"] < 0.5
    (level,) = [level for level in one.levels() if level.rule.name == "AgentUnpriced"]
    assert level.sums.paged == 0 and [alert.state for alert in level.alerts.values()] == ["firing"]


def test_it_pages_where_the_operator_wants_so() -> None:
    """The same rule with another severity."""
    text = (PACKS / "agents.yaml").read_text().replace("severity: ticket", "severity: warning")
    one = Pipeline(IngestLimits(), combine([parse_rules(text, "own.yaml")]), 0)
    told = [notice for minute in range(8) for notice in stepped(one, minute, calls(minute, ("brand-new-9",))).notices]
    assert [notice.severity for notice in told] == ["warning"]


def test_metrics_without_a_price_are_told_alike() -> None:
    """Calls and tokens of a model that no list knows."""
    one, tickets = Pipeline(IngestLimits(), PACK, 0), list[str]()
    for minute in range(10):
        at, said = 60.0 * minute + 30, {"gen_ai.request.model": "brand-new-9"}
        used = counter("gen_ai.client.token.usage", 500, at, at - 60, DELTA, **said, **{"gen_ai.token.type": "input"})
        took = durations([1, 2, 0, 0], at, at - 60, DELTA, labels=said)
        tickets += stepped(one, minute, points(used, took), Signal.METRICS).tickets
    assert len(tickets) == 1 and "model brand-new-9" in tickets[0]
