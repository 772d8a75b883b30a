"""What a leg of a session remembers: its calls, counted once each, its times, its labels and its cost."""

import random
from collections import Counter

import numpy as np
import pytest

from service.batch import Record, Signal, Tally
from service.ingest.join.closing import Labels
from service.ingest.legs import WENT, Legs, Texts
from service.ingest.limits import IngestLimits
from service.ingest.prices import CostSource, Tokens
from service.ingest.stage import Ingest
from tests.service.ingest.test_odd_streams import arrivals, limits
from tests.service.ingest.wire import FIXTURES, Sent, Stream, agent, at_ns, body, chat


def gone(stream: Stream) -> list[Legs]:
    """The legs of a stream that ends now."""
    stream.flush()
    return list(stream.ingest.legs.values())


def tool(trace: int, span: int, end_s: float, parent: int = 1, failed: bool = False, arguments: str = "{}") -> Sent:
    """A call of a tool."""
    said = {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search", "gen_ai.tool.call.arguments": arguments,
    }  # fmt: skip
    return Sent(trace, span, end_s - 1, end_s, parent, "execute_tool search", failed, attributes=said)


def test_what_a_session_went_through() -> None:
    """Two traces of one conversation: their calls, failures, repeats and cuts; times from the first to the last."""
    stream = Stream()
    stream.send(
        chat(1, 2, 1, 3, 1, gen_ai__response__finish_reasons="length"), tool(1, 3, 5), tool(1, 4, 6),
        tool(1, 5, 7, failed=True, arguments='{"q": 1}'),
        agent(1, 1, 0, 10, tenant="acme", gen_ai__conversation__id="c", gen_ai__agent__version="2"),
    )  # fmt: skip
    failed = chat(2, 2, 13, 14, 1)
    stream.send(
        Sent(**{**failed.__dict__, "failed": True}),
        agent(2, 1, 12, 15, gen_ai__conversation__id="c", session__outcome="escalated"),
    )
    (leg,) = gone(stream)
    assert dict(zip(WENT, leg.went[0].tolist(), strict=True)) == {
        "model_calls": 2, "failed_model_calls": 1, "truncated_answers": 1, "tool_calls": 3, "failed_tool_calls": 1,
        "repeated_tool_calls": 1, "retrievals": 0, "empty_retrievals": 0, "guardrail_blocks": 0,
    }  # fmt: skip
    assert leg.texts == [Texts("acme", "helper", "2", "gpt-4o-mini", "escalated")]
    assert leg.key[0].tobytes() == stream.ingest.key_of("c") and leg.named.tolist() == [True]
    assert leg.trace[0].tobytes() == (1).to_bytes(16, "big")
    assert (leg.first_ns[0], leg.last_ns[0], leg.traces[0]) == (at_ns(0), at_ns(15), 2)
    assert leg.tokens.tolist() == [[200.0, 20.0]] and np.isnan(leg.lowest[0])
    assert leg.dollars[0] == pytest.approx(2 * (100 * 0.15e-6 + 10 * 0.6e-6))


def test_a_session_that_nothing_names_is_known_by_its_trace() -> None:
    """Its key is the id of its trace. Of a call without a price its cost is not known."""
    stream = Stream()
    stream.send(chat(7, 2, 1, 2, 1, gen_ai__request__model="own"), agent(7, 1, 0, 3))
    (leg,) = gone(stream)
    assert leg.key[0].tobytes() == leg.trace[0].tobytes() == (7).to_bytes(16, "big")
    assert not leg.named[0] and np.isnan(leg.dollars[0])


def test_each_leg_counts_its_own() -> None:
    """What came after the silence is a second leg of the session: nothing of the first counts again."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 10, gen_ai__conversation__id="c"))
    stream.send(agent(9, 1, 110, 110))
    first = stream.ingest.legs.values()
    stream.send(chat(2, 1, 200, 210, gen_ai__conversation__id="c"))
    legs = [*first, *gone(stream)]
    mine = [leg for leg in legs if leg.key[0].tobytes() == stream.ingest.key_of("c")]
    assert [leg.went[0, 0] for leg in mine] == [1, 1] and mine[0].last_ns[0] < mine[1].first_ns[0]


def test_a_retrieval_that_found_nothing() -> None:
    """Retrievals, the empty ones among them, and the lowest of their best scores."""
    stream = Stream()
    found = [(4, 0.9), (4, 0.4), (0, None)]
    spans = [
        Sent(1, 2 + i, i, i + 1, 1, "retrieve", attributes={
            "openinference.span.kind": "RETRIEVER",
            **({f"retrieval.documents.{n}.document.id": str(n) for n in range(hits)}),
            **({"retrieval.documents.0.document.score": score} if score else {}),
        })
        for i, (hits, score) in enumerate(found)
    ]  # fmt: skip
    stream.send(*spans, agent(1, 1, 0, 10))
    (leg,) = gone(stream)
    assert leg.went[0, WENT.index("retrievals")] == 3
    assert leg.lowest[0] == pytest.approx(0.4)


class Heard:
    """Counts calls by operation, as they are counted."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def spans(self, dialects: Counter[str]) -> None:
        """Nothing."""

    def call(self, labels: Labels, failed: bool, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """Count it."""
        self.calls[labels[2]] += 1
        self.failed[labels[2]] += failed

    def usage(self, labels: Labels, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """Nothing."""

    def session(self, labels: Labels, key: str, outcome: int) -> None:
        """Nothing."""


def same(bodies: list[tuple[bytes, float, str]], given: IngestLimits) -> Counter[str]:
    """Hold what legs remember against the calls that were counted; those calls."""
    heard, tally = Heard(), Tally()
    ingest, legs = Ingest(given, heard), list[Legs]()
    for raw, now_s, partition in bodies:
        ingest.read(Record(Signal.TRACES, raw, partition), at_ns(now_s), tally)
        ingest.take_closed()
        legs += ingest.legs.values()
    list(ingest.flush(tally))
    legs += ingest.legs.values()
    went = sum((leg.went.sum(axis=0) for leg in legs), np.zeros(len(WENT), np.int64))
    found = dict(zip(WENT, went.tolist(), strict=True))
    for operation, calls, failed in (
        ("llm", "model_calls", "failed_model_calls"), ("tool", "tool_calls", "failed_tool_calls"),
    ):  # fmt: skip
        assert found[calls] == heard.calls[operation] and found[failed] == heard.failed[operation]
    assert found["retrievals"] == heard.calls["retrieval"]
    assert sum(len(leg.texts) for leg in legs) == tally.sessions
    return heard.calls


@pytest.mark.parametrize("seed", range(20))
def test_every_call_is_of_one_leg(seed: int) -> None:
    """Odd streams: late, twice, in any order, under limits that end traces early."""
    chance = random.Random(seed)
    given = limits(chance)
    same(list(arrivals(chance)), given)


def test_every_call_of_the_captures() -> None:
    """What real SDKs sent."""
    bodies = [(path.read_bytes(), 1e7, "p") for path in sorted(FIXTURES.glob("*/traces*.binpb"))]
    calls = same(bodies, IngestLimits(lateness_ns=2**60))
    assert min(calls["llm"], calls["tool"], calls["retrieval"]) > 0


def test_a_restored_join_remembers() -> None:
    """A save in the middle of a session changes nothing that its leg tells."""
    whole, cut = Stream(), Stream()
    bodies = [
        (body(chat(1, 2, 1, 3, 1), tool(1, 3, 5)), 66.0), (body(agent(3, 1, 80, 81)), 82.0),
        (body(tool(1, 4, 85), agent(1, 1, 0, 90)), 91.0),
    ]  # fmt: skip
    for raw, now_s in bodies:
        for stream in (whole, cut):
            stream.send_bytes(raw, now_s)
        cut.ingest = Ingest.restore(cut.ingest.snapshot(), cut.limits)
    told = [
        [(leg.went.tolist(), leg.first_ns.tolist(), leg.tokens.tolist()) for leg in gone(one)] for one in (whole, cut)
    ]
    assert told[0] == told[1] and told[0]
