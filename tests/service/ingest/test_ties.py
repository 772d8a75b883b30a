"""Rules that decide between two spans that are otherwise equal, each told by the smallest stream that shows it."""

import pytest

from detectors.core.columns import SECOND_NS
from service.ingest.twins import Account, Twins
from service.ingest.vocabulary import Resource
from tests.service.ingest.wire import Sent, Stream, agent, chat


def models(stream: Stream) -> list[tuple[str, float]]:
    """Models and calls of each."""
    return sorted((row["labels"][4], float(str(row["count"]))) for row in stream.flush().of("llm"))  # type: ignore[index]


def answer(span: int, start_s: float, end_s: float, trace: int = 1) -> Sent:
    """A call whose answer others tell of too, of a model of its own."""
    return chat(trace, span, start_s, end_s, gen_ai__response__id="r", gen_ai__request__model=f"m-{span}")


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_that_end_together_the_later_start_is_counted_first(turned: bool) -> None:
    """It lies further in, so it knows more; the other one is the same answer."""
    stream, sent = Stream(), [answer(2, 0, 5), answer(3, 2, 5)]
    stream.send(*(reversed(sent) if turned else sent))
    assert models(stream) == [("m-3", 1.0)]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_alike_the_lower_id_is_counted_first(turned: bool) -> None:
    """With the same start and end, ids decide, whichever came first."""
    stream, sent = Stream(), [answer(2, 0, 5), answer(3, 0, 5)]
    stream.send(*(reversed(sent) if turned else sent))
    assert models(stream) == [("m-2", 1.0)]


@pytest.mark.parametrize("turned", [False, True])
def test_the_lower_id_speaks_for_the_trace(turned: bool) -> None:
    """Of two siblings that began together, the one with the lower id lends its agent to spans that name none."""
    stream, root = Stream(), Sent(1, 1, 0, 9)
    sent = [chat(1, 2, 1, 3, 1, gen_ai__agent__name="low"), chat(1, 3, 1, 3, 1, gen_ai__agent__name="high")]
    stream.send(*(reversed(sent) if turned else sent), chat(1, 4, 2, 4, 1), root)
    calls = {row["labels"][1]: row["count"] for row in stream.flush().of("llm")}  # type: ignore[index]
    assert calls == {"low": 2.0, "high": 1.0}


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_outcomes_at_one_time_the_higher_id_s_holds(turned: bool) -> None:
    """The last to end tells; if two end together, the one with the higher id does."""
    stream = Stream()
    sent = [chat(1, 2, 1, 5, 1, session__outcome="failed"), chat(1, 3, 1, 5, 1, session__outcome="resolved")]
    stream.send(*(reversed(sent) if turned else sent), agent(1, 1, 0, 5))
    (session,) = stream.flush().of("session")
    (good,) = Stream.of(_of_one("resolved"), "session")
    assert session["outcome"] == good["outcome"]


def _of_one(outcome: str) -> Stream:
    stream = Stream()
    stream.send(chat(1, 3, 1, 5, 1, session__outcome=outcome), agent(1, 1, 0, 5))
    return stream.flush()


@pytest.mark.parametrize(("between", "calls"), [("workflow", 1.0), ("other", 1.0), ("invoke_agent", 2.0)])
def test_what_may_stand_between_two_spans_of_one_call(between: str, calls: float) -> None:
    """A framework's wrapper, a workflow's step, and the client's span are one call; below an agent another begins."""
    stream = Stream()
    attributes = {"invoke_agent": {"gen_ai.operation.name": between}, "workflow": {"traceloop.span.kind": "workflow"}}
    stream.send(
        chat(1, 1, 0, 9), Sent(1, 2, 1, 8, 1, "step", attributes=attributes.get(between, {})), chat(1, 3, 2, 7, 2)
    )
    assert sum(float(str(row["count"])) for row in stream.flush().of("llm")) == calls
    assert between == "other" or stream.of("workflow" if between == "workflow" else "agent")


def account(response_id: int, row: int, native: bool) -> Account:
    """One account of a call; an SDK's own lies within the other's time."""
    edge = int(native) * SECOND_NS
    return Account(
        Resource("", "a", ""), False, 10.0, 100 * SECOND_NS + edge, 105 * SECOND_NS - edge, response_id, (), row
    )


@pytest.mark.parametrize(("native", "other", "told"), [(0, 0, [1]), (5, 5, [1]), (5, 0, [1]), (0, 5, [1]), (5, 6, [])])
def test_two_answers_are_two_calls(native: int, other: int, told: list[int]) -> None:
    """Accounts that both name their answer are of one call only if that is the same."""
    pairs = Twins().pair([account(native, 1, True)], [account(other, 2, False)], 100 * SECOND_NS)
    assert pairs.told == told


@pytest.mark.parametrize(("native", "other", "told"), [(0, 0, [2]), (5, 5, [2]), (5, 0, [2]), (5, 6, [])])
def test_two_answers_are_two_calls_a_slot_later(native: int, other: int, told: list[int]) -> None:
    """Likewise where the SDK's own was counted in the slot before."""
    twins = Twins()
    assert twins.pair([account(native, 1, True)], [], 100 * SECOND_NS).told == []
    assert twins.pair([], [account(other, 2, False)], 110 * SECOND_NS).told == told
