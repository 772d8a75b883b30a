"""Tokens of metrics have a price, where nobody states what they cost."""

from typing import Any

import pytest

from alertrules.parse import combine, parse_rules
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.ingest.local import Local, overrides
from service.ingest.metrics.meters import Meters
from service.ingest.stage import Ingest
from service.pipeline.pipeline import Pipeline
from tests.service.ingest.test_metrics import DELTA, counter, metered, points, sent
from tests.service.ingest.wire import Stream, agent, at_ns, body, chat


def usage(token: str, amount: float, at: float, **labels: str) -> Any:
    """gen_ai.client.token.usage of an interval, by model and provider if they are given."""
    said = {name.replace("__", "."): text for name, text in labels.items()}
    return counter("gen_ai.client.token.usage", amount, at, 0, DELTA, **{"gen_ai.token.type": token} | said)


SONNET = {"gen_ai__provider__name": "anthropic", "gen_ai__request__model": "claude-sonnet-4-5"}


@pytest.mark.parametrize(
    ("kinds", "labels", "dollars", "source"),
    [
        ({"input": 1_000_000, "output": 100_000}, SONNET, 3.0 + 1.5, "priced"),  # Of small requests, however many.
        ({"input": 1_000, "cacheRead": 1_000, "cacheCreation": 1_000}, SONNET, 0.003 + 0.0003 + 0.00375, "priced"),
        ({"input": 1_000, "output": 100}, {"model": "own-7"}, 0.001 * 4 + 0.0001 * 8, "override"),
        ({"input": 1_000}, SONNET | {"gen_ai__response__model": "own-7"}, 0.004, "override"),
        ({"input": 1_000}, {"model": "own-free"}, 0.0, "free"),
        ({"input": 1_000}, {"model": "elsewhere-7"}, 0.0, "unpriced"),
        ({"input": 1_000}, {}, 0.0, "unpriced"),
    ],
    ids=["list", "cache", "own", "answered-by", "free", "unknown", "no-model"],
)
def test_tokens_of_metrics_have_a_price(
    kinds: dict[str, int], labels: dict[str, str], dollars: float, source: str
) -> None:
    """The operator's first, then the list's, else none, which is counted; of the smallest requests."""
    own = {"model": "own-7", "input": 4, "output": 8, "above": {200: {"input": 40}}}
    local = Local(overrides({"prices": [own, {"model": "own-free", "input": 0, "output": 0}]}))
    stream = Stream()
    stream.ingest = Ingest(stream.limits, meters=Meters(since_ns=0), local=local)
    sent(stream, *(usage(kind, amount, 60, **labels) for kind, amount in kinds.items())).flush()
    (row,) = stream.of("llm")
    assert row["cost_usd"] == pytest.approx(dollars)
    assert stream.tally.priced_tokens == {source: sum(kinds.values())}


def test_who_states_cost_is_not_priced() -> None:
    """Whichever point of a body comes first, before and after a restart; and a day after the last one it is priced."""
    tokens, other = usage("input", 1000, 60, **SONNET), usage("input", 1000, 60, **SONNET)
    stated = counter("agent.cost.usd", 0.5, 60, temporality=DELTA, agent="helper", tenant="acme")
    stream = Stream()
    stream.send_bytes(points(tokens, stated), 61, "m/0", Signal.METRICS)
    stream.send_bytes(points(other, resource={"service.name": "other"}), 61, "m/0", Signal.METRICS)
    stream.send_bytes(points(other, resource={"service.name": "helper"}), 61, "m/0", Signal.METRICS)
    stream.idle(200)
    stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
    sent(stream, usage("input", 1000, 300, **SONNET), usage("input", 1000, 90_000, **SONNET)).flush()
    cost = [(row["start_s"], *row["labels"][:3], row["cost_usd"]) for row in stream.rows() if row["cost_usd"]]  # type: ignore[index]
    assert cost == [
        (50, "acme", "helper", "spend", 0.5), (50, "", "other", "llm", 0.003), (89_990, "", "shop", "llm", 0.003)
    ]  # fmt: skip
    assert stream.tally.priced_tokens == {"priced": 2000}
    assert sum(float(str(row["input_tokens"])) for row in stream.rows()) == 5000


def test_spans_that_tell_cost_leave_no_tokens_to_price() -> None:
    """A service whose spans have a price counts the tokens of its metrics no second time."""
    stream = metered(names=False)
    stream.send_bytes(body(agent(1, 1, 0, 9), chat(1, 2, 1, 3, 1)), 10)
    stream.idle(100)
    spent = sum(float(str(row["cost_usd"])) for row in stream.rows())
    sent(stream, usage("input", 1000, 160, **SONNET)).flush()
    assert sum(float(str(row["cost_usd"])) for row in stream.rows()) == spent > 0
    assert not stream.tally.priced_tokens


RULES = """
groups:
  - name: metrics
    rules:
      - {alert: Dear, detector: burn, by: [agent], above: $3000}
"""


def test_what_metrics_cost_is_spent() -> None:
    """A dollar a minute by the operator's price is too much, a tenth is not; saved and restored meanwhile or not."""
    rules, own = combine([parse_rules(RULES, "test.yaml")]), {"model": "own-7", "input": 1, "output": 1}
    local = Local(overrides({"prices": [own]}))

    def told(restored: bool) -> list[tuple[str, dict[str, str], int]]:
        one, found = Pipeline(IngestLimits(), rules, 0, local=local), []
        for minute in range(30):
            spent = {"dear": 1_000_000, "cheap": 100_000}
            raw = points(*(usage("output", n, 60 * minute + 30, model="own-7", agent=who) for who, n in spent.items()))
            outcome = one.step(Batch((Record(Signal.METRICS, raw, "m/0"),), {}), at_ns(60 * minute + 31))
            found += [(each.rule, dict(each.labels), each.at_ns) for each in outcome.transitions]
            if restored:
                state, one = one.snapshot(), Pipeline(IngestLimits(), rules, 0, local=local)
                one.restore(state)
        return found

    ((rule, labels, when_ns),) = told(restored=False)
    assert (rule, labels) == ("Dear", {"agent": "dear"})
    assert told(restored=True) == [(rule, labels, when_ns)]
