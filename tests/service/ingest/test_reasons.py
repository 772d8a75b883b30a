"""What calls end with, and what else of them a rule can watch: shares, first tokens, the cache, tools, guardrails."""

from typing import Any

import numpy as np
import pytest

from alertrules.view import View
from detectors.core.columns import ENDINGS, SLOT_NS, Tick
from detectors.core.signals import SIGNALS, Mean, Quantile
from service.ingest.reasons import error_class, reason_class, verdict_class
from tests.service.ingest.test_cases import protobuf, read
from tests.service.ingest.test_neighbours import CHAT, ERROR, TOOL, body, raised, span
from tests.service.ingest.wire import Stream

GUARD = {"gen_ai.operation.name": "apply_guardrail"}


def tick_of(raw: bytes) -> Tick:
    """All that a body counts, as one tick of one series."""
    stream, view = Stream(), View((), (), 10)
    stream.send_bytes(raw, 2)
    for slot in stream.flush().slots:
        view.add(slot, stream.ingest.cells)
    tick = view.close(SLOT_NS)
    assert tick is not None
    return tick


def share(raw: bytes, signal: str) -> float:
    """A share of a body's calls; in JSON, and in protobuf."""
    told = []
    for each in (raw, protobuf(raw)):
        tick, made = tick_of(each), SIGNALS[signal].of
        assert isinstance(made, Mean)
        told.append(float(made.part(tick)[0] / made.units(tick)[0]))
    assert told[0] == told[1]
    return told[0]


def ended(reason: Any) -> dict[str, Any]:
    """A call that ended with a reason, as a list or as a text."""
    one = span(1, CHAT)
    values = [{"stringValue": each} for each in reason] if isinstance(reason, list) else None
    value = {"arrayValue": {"values": values}} if values is not None else {"stringValue": reason}
    one["attributes"].append({"key": "gen_ai.response.finish_reasons", "value": value})
    return one


@pytest.mark.parametrize(
    ("reason", "signal"),
    [
        (["length"], "truncated_share"), ('["max_tokens"]', "truncated_share"), ("MAX_TOKENS", "truncated_share"),
        (["content_filter"], "refused_share"), (["refusal"], "refused_share"), (["SAFETY"], "refused_share"),
        (["abort"], "cancelled_share"),
    ],
)  # fmt: skip
def test_a_finish_reason_is_a_share(reason: Any, signal: str) -> None:
    """Of all calls that say what they ended with, whichever way it is written."""
    others = [span(number, CHAT | {"gen_ai.response.finish_reason": "stop"}) for number in (2, 3, 4)]
    assert share(body(ended(reason), *others, span(5, CHAT)), signal) == 0.25
    assert share(body(ended(["stop"]), *others), signal) == 0


def test_an_empty_answer_is_one_that_says_so() -> None:
    """No token of output, of a call that tells its output; whatever it stopped for but a tool."""
    empty = CHAT | {"gen_ai.usage.output_tokens": 0}
    stopped = {"gen_ai.response.finish_reason": "stop"}
    assert share(body(span(1, empty), span(2, CHAT | stopped)), "empty_share") == 0.5
    silent = {name: value for name, value in CHAT.items() if "output" not in name}
    calls = span(3, empty | {"gen_ai.response.finish_reason": "tool_calls"})
    assert share(body(span(1, silent | stopped), span(2, CHAT | stopped), calls), "empty_share") == 0


@pytest.mark.parametrize(
    ("kind", "signal"),
    [
        ("openai.RateLimitError", "rate_limited_share"), ("429", "rate_limited_share"),
        ("ThrottlingException", "rate_limited_share"), ("TimeoutError", "timeout_share"),
        ("APITimeoutError", "timeout_share"), ("DEADLINE_EXCEEDED", "timeout_share"),
        ("OverloadedError", "overloaded_share"),
        ("503", "overloaded_share"), ("AuthenticationError", "rejected_share"), ("BadRequestError", "rejected_share"),
        ("ContentPolicyViolationError", "refused_share"),
    ],
)  # fmt: skip
def test_kinds_of_error_are_told_apart(kind: str, signal: str) -> None:
    """By the type of the error, wherever that stands."""
    fine = span(9, CHAT | {"gen_ai.response.finish_reason": "stop"})
    for failed in (span(1, CHAT | {"error.type": kind}, status=ERROR), span(1, CHAT, status=ERROR, **raised(kind))):
        assert share(body(failed, fine), signal) == 0.5


def test_words_are_classes() -> None:
    """Unknown reasons are not told; unknown errors are errors; a verdict blocks or passes."""
    assert reason_class("because") == -1 and ENDINGS[error_class("Boom")] == "error"
    assert ENDINGS[verdict_class("GUARDRAIL_INTERVENED")] == "blocked" and ENDINGS[verdict_class("allow")] == "passed"


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [("gen_ai.response.time_to_first_chunk", 0.5, 0.5), ("ai.response.msToFirstChunk", 500.0, 0.5),
     ("ttft_ms", 500, 0.5)],
)  # fmt: skip
def test_the_first_token_has_its_time(name: str, value: float, seconds: float) -> None:
    """In seconds, whatever it was told in; calls that do not tell are not in it."""
    tick, made = tick_of(body(span(1, CHAT | {name: value}), span(2, CHAT))), SIGNALS["first_token_p95"].of
    assert isinstance(made, Quantile)
    entries = made.histogram(tick)
    assert entries.count.tolist() == [1.0] and 2 ** (entries.bucket[0] / 8) < seconds <= 2 ** (
        (entries.bucket[0] + 1) / 8
    )


def test_the_share_of_the_cache() -> None:
    """Of all input tokens, those that were read from the cache."""
    assert (
        share(body(span(1, CHAT | {"gen_ai.usage.cache_read.input_tokens": 500}), span(2, CHAT)), "cache_read_share")
        == 0.25
    )


@pytest.mark.parametrize(
    "name", ["tool.result.status", "result.status", "tool.call.status", "agent.tool.status", "status", "tool.status"]
)
@pytest.mark.parametrize("value", ["error", "FAILED", "timeout"])
def test_the_status_of_a_result_tells_a_failed_tool(name: str, value: str) -> None:
    """On spans of tools alone; a good one does not."""
    assert read([body(span(1, TOOL | {name: value}))])["failed"] == {"tool": 1}
    assert read([body(span(1, TOOL | {name: "ok"}))])["failed"] == {}
    assert read([body(span(1, CHAT | {name: value}))])["failed"] == {}
    waiting = raised("GraphInterrupt")
    assert read([body(span(1, TOOL | {name: value}, **waiting))])["failed"] == {}


@pytest.mark.parametrize(
    ("said", "blocked"),
    [
        ({"guardrail.triggered": True}, True), ({"guardrail.triggered": False}, False),
        ({"gen_ai.security.decision.type": "deny"}, True), ({"gen_ai.security.decision.type": "allow"}, False),
        ({"guardrail.action": "GUARDRAIL_INTERVENED"}, True), ({"guardrail.passed": False}, True),
        ({"guardrail.passed": True}, False), ({"guardrail.verdict": "tripped"}, True),
    ],
)  # fmt: skip
def test_a_guardrail_that_blocks_is_no_failure(said: dict[str, Any], blocked: bool) -> None:
    """It is a share of its own."""
    raw = body(span(1, GUARD | said), span(2, GUARD | {"guardrail.verdict": "passed"}), span(3, GUARD))
    assert share(raw, "blocked_share") == blocked / 2
    assert read([raw])["failed"] == {}


def test_every_share_lies_between_none_and_all() -> None:
    """What is in no mix divides by nothing."""
    tick = tick_of(body(span(1, TOOL)))
    for name, signal in SIGNALS.items():
        # Of all calls, and not of a mix, are those without a price.
        if name.endswith("_share") and name != "unpriced_share" and isinstance(signal.of, Mean):
            assert not np.any(signal.of.part(tick)) and not np.any(signal.of.units(tick))
