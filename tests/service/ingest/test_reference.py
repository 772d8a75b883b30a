"""The kernels against the join as its rules would be told (`reference.py`): odd streams, and what Hypothesis finds."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batch import Dropped
from service.ingest.limits import IngestLimits
from service.ingest.prices import Prices
from tests.service.ingest.reference import Join
from tests.service.ingest.reference_closing import Closing
from tests.service.ingest.test_odd_streams import SAID, arrivals, limits
from tests.service.ingest.wire import FIXTURES, Sent, Stream, agent, body, chat

SUMS = ("count", "failed", "input_tokens", "output_tokens", "cost_usd", "unpriced", "free")


def by_rules(given: IngestLimits) -> Stream:
    """A stream whose join is the reference."""
    stream = Stream()
    stream.limits = given
    join = Join(given)
    stream.ingest = type(stream.ingest)(given)
    stream.ingest.join = join  # type: ignore[assignment]
    stream.ingest._closing = Closing(join, Prices())  # type: ignore[assignment]
    return stream


def by_kernels(given: IngestLimits) -> Stream:
    """A stream as it is."""
    stream = Stream()
    stream.ingest, stream.limits = type(stream.ingest)(given), given
    return stream


def told(stream: Stream) -> list[object]:
    """What a stream's slots say, whatever the numbers of its cells and the order in which sums were added."""

    def near(value: object) -> object:
        return [near(each) for each in value] if isinstance(value, list | tuple) else (
            float(f"{value:.9g}") if isinstance(value, float) else value
        )  # fmt: skip

    rows = [tuple(near(row[name]) for name in ("start_s", "labels", *SUMS)) for row in stream.rows()]
    more = [tuple(near(sorted(row[name])) for name in ("duration", "cost", "outcome")) for row in stream.rows()]  # type: ignore[call-overload]
    return sorted(zip(rows, more, strict=True), key=str)


def compare(given: IngestLimits, sent: Sequence[tuple[bytes, float, str]]) -> None:
    """Both say the same of these bodies."""
    rules, kernels = by_rules(given), by_kernels(given)
    for stream in (rules, kernels):
        for raw, now_s, partition in sent:
            stream.send_bytes(raw, now_s, partition)
        stream.flush()
    assert told(rules) == told(kernels)
    one, other = rules.tally, kernels.tally
    assert one.spans == other.spans and one.sessions == other.sessions and one.costs == other.costs
    assert +one.dropped == +other.dropped and +one.sessionless == +other.sessionless and +one.cut == +other.cut
    assert one.weighted == other.weighted
    assert (one.stated_tokens, one.leaf_tokens) == (other.stated_tokens, other.leaf_tokens)


@pytest.mark.parametrize("seed", range(100))
def test_odd_streams(seed: int) -> None:
    """Few traces and ids, in any order, early, late and twice; tight limits, but for that of cells."""
    chance = random.Random(seed)
    tight = limits(chance)
    compare(IngestLimits(**{**tight.__dict__, "cells_max": 50_000}), list(arrivals(chance)))


def test_captures() -> None:
    """What real SDKs sent, one after the other."""
    compare(
        IngestLimits(lateness_ns=2**60),
        [(path.read_bytes(), 10_000_000.0, "p") for path in sorted(FIXTURES.glob("*/traces*.binpb"))],
    )


SECONDS = st.sampled_from([0.0, 1.0, 2.0, 5.0, 9.0, 10.0, 40.0])
ATTRIBUTES = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, (_, values) in SAID.items()})
SPANS = st.builds(
    lambda trace, span, end_s, lasted_s, parent, name, failed, attributes: Sent(
        trace, span, max(end_s - lasted_s, 0.5), max(end_s, 0.5), parent, name, failed, attributes=attributes
    ),
    st.integers(1, 2), st.integers(1, 8), SECONDS, SECONDS, st.integers(0, 8),
    st.sampled_from(["", "agent.session", "chat x"]), st.booleans(), ATTRIBUTES,
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.lists(SPANS, min_size=1, max_size=8), SECONDS), max_size=5))
def test_any_stream(bodies: list[tuple[list[Sent], float]]) -> None:
    """Bodies of any spans of two traces, the clock going on by any time between."""
    now_s, sent = 50.0, list[tuple[bytes, float, str]]()
    for spans, later_s in bodies:
        now_s += later_s
        sent.append((body(*spans), now_s, "p"))
    compare(IngestLimits(lateness_ns=5 * 10**9, session_idle_ns=10**10, rootless_idle_ns=3 * 10**10), sent)


def test_a_span_twice_in_a_trace_that_was_given_up() -> None:
    """Of two that agree in everything, the one that came first is counted first, whatever rows they have."""
    for times in range(2, 7):
        sent = [(body(chat(1, 1, 0, 5, gen_ai__request__model=f"m-{n}")), 6.0, "p") for n in range(times)]
        others = [(body(agent(100 + n, 1, 0, 5)), 6.0, "p") for n in range(times)]
        compare(IngestLimits(traces_max=1), [each for pair in zip(sent, others, strict=True) for each in pair])
    stream = by_kernels(IngestLimits(traces_max=1))
    for n in range(4):
        stream.send(chat(1, 1, 0, 5, gen_ai__request__model=f"m-{n}"), now_s=6)
        stream.send(agent(2 + n, 1, 0, 5), now_s=6)
    assert stream.dropped(Dropped.TRACES_FULL) > 0
