"""Traffic that a test describes, as OTLP bodies: one seed gives one stream, in which a span comes once it ended."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from alertrules.rules import Written
from detectors.core.columns import SECOND_NS, SLOT_NS, TICK_NS, Bools, Floats, Places
from service.batch import Record, Signal
from service.ingest.vocabulary import LLM
from service.rule_tests.judgements import judged
from service.rule_tests.spans import FAILED, Ids, Octets, body, field, hexadecimal, resource, rows, text
from service.rule_tests.written import Agent, Calls, Metric, RuleTest, Span

P95 = 1.6448536
"""The 95th percentile of a standard normal."""
OPERATION_NAMES = {
    "llm": "chat", "embedding": "embeddings", "retrieval": "retrieval", "tool": "execute_tool",
    "agent": "invoke_agent", "workflow": "invoke_workflow", "guardrail": "guardrail_check",
    "classification": "classify", "evaluation": "evaluate", "other": "",
}  # fmt: skip
"""The word of the GenAI conventions for each operation, or one that is read alike."""
CALL_USUAL: Mapping[str, Any] = {"each": 1.0, "errors": 0.0, "error_type": "error", "latency": 1.0, "spread": 2.0}
SESSION_USUAL: Mapping[str, Any] = {"outcomes": {}, "errors": 0.0, "latency": 0.1, "agent_version": ""}
POINT_USUAL: Mapping[str, Any] = {"noise": 0.0}
_CLIENT, _INTERNAL = b"\x30\x03", b"\x30\x01"


def law(written: Written, usual: Mapping[str, Any], changes: tuple[Span, ...], at_ns: int) -> dict[str, Any]:
    """What holds at a time of the test: as written, with what has changed by then."""
    values = dict(usual) | _set(written)
    for change in changes:
        if change.holds(at_ns):
            values |= _set(change)
    return values


def _set(written: Written) -> dict[str, Any]:
    return {name: value for name, value in written if value is not None}


class Stream:
    """All bodies of a test, in order of time."""

    def __init__(self, test: RuleTest) -> None:
        self.test = test
        self.zero_ns = test.start + test.learn
        self._rng = np.random.default_rng(test.seed)
        self._waiting: dict[int, list[tuple[int, bytes]]] = {}  # By slot: spans that end in it, and whose they are.
        self._resources = [
            resource({"service.name": "tocsin-test", "tenant.id": agent.tenant} if agent.tenant else
                     {"service.name": "tocsin-test"})
            for agent in test.agents
        ]  # fmt: skip
        self._kits = [_Kit(agent) for agent in test.agents]

    def records(self) -> Iterator[tuple[int, tuple[Record, ...]]]:
        """What has come by each moment: a minute's at a time while rules learn, then ten seconds'.

        A span is sent when it has ended. Metrics are sent every minute. While rules learn, the sessions of a minute
        begin in its first second: rules learn by the minute, and slots in which nothing ends take no time.
        """
        end_ns = self.zero_ns + self.test.length_ns
        for minute_ns in range(self.test.start, end_ns, TICK_NS):
            for begin_ns, until_ns in self._pieces(minute_ns):
                for number in range(len(self.test.agents)):
                    self._sessions(number, begin_ns, until_ns)
            width_ns = TICK_NS if minute_ns < self.zero_ns else SLOT_NS
            for slot_ns in range(minute_ns, minute_ns + TICK_NS, width_ns):
                until_ns = slot_ns + width_ns
                found = self._ended(slot_ns, until_ns)
                if until_ns == minute_ns + TICK_NS and self.test.metrics:
                    found += (Record(Signal.METRICS, self._points(minute_ns), "test"),)
                if until_ns == minute_ns + TICK_NS and self.test.evaluations:
                    evaluated = judged(self.test.evaluations, minute_ns, self.zero_ns, self._rng)
                    found += (Record(Signal.LOGS, evaluated, "test"),)
                yield until_ns, found

    def _pieces(self, minute_ns: int) -> list[tuple[int, int]]:
        """A minute, cut where something changes in it."""
        at_ns = minute_ns - self.zero_ns
        times = {time for one in self.test.changes for time in (one.at, one.until) if time}
        edges = [at_ns, *sorted(time for time in times if at_ns < time < at_ns + TICK_NS), at_ns + TICK_NS]
        return [(self.zero_ns + a, self.zero_ns + b) for a, b in pairwise(edges)]

    def _ended(self, begin_ns: int, until_ns: int) -> tuple[Record, ...]:
        """A body of the spans that ended in this time; none if there are none."""
        found: dict[int, list[bytes]] = {}
        for slot in range(begin_ns // SLOT_NS, until_ns // SLOT_NS):
            for number, spans in self._waiting.pop(slot, ()):
                found.setdefault(number, []).append(spans)
        if not found:
            return ()
        bodies = (body(self._resources[number], b"".join(spans)) for number, spans in sorted(found.items()))
        return (Record(Signal.TRACES, b"".join(bodies), "test"),)

    def _sessions(self, number: int, begin_ns: int, until_ns: int) -> None:
        """Sessions of an agent that begin in this time."""
        agent, kit, rng, at_ns = self.test.agents[number], self._kits[number], self._rng, begin_ns - self.zero_ns
        now = law(agent, SESSION_USUAL, agent.changes, at_ns)
        n = int(rng.poisson(now["sessions"] * (until_ns - begin_ns) / SECOND_NS))
        if not n:
            return
        traces, roots = _random_ids(rng, n, 16), _random_ids(rng, n, 8)
        crowd_ns = min(until_ns, begin_ns + SECOND_NS) if begin_ns < self.zero_ns else until_ns
        start_ns = np.sort(rng.integers(begin_ns, crowd_ns, n))
        clock_ns = start_ns + SECOND_NS // 100
        for calls, templates in zip(agent.calls, kit.calls, strict=True):
            clock_ns = self._calls(number, calls, templates, at_ns, (traces, roots, clock_ns))
        end_ns = clock_ns + (_spread(rng, now["latency"], 2.0, n) * SECOND_NS).astype(np.int64)
        fails, pick = rng.random(n) < now["errors"], rng.random(n)
        below = 0.0
        known = {word: portion for word, portion in now["outcomes"].items() if portion}
        for word, portion in (*known.items(), ("", math.inf)):
            for failed in (False, True):
                those = (fails == failed) & (below <= pick) & (pick < below + portion)
                if not those.any():
                    continue
                shared = kit.root(now["agent_version"], word, failed)
                ids = Ids(traces[those], roots[those], None)
                names = [("gen_ai.conversation.id", hexadecimal(ids.trace))]
                self._put(number, rows(ids, start_ns[those], end_ns[those], shared, names), end_ns[those])
            below += portion

    def _calls(
        self, number: int, calls: Calls, templates: "_CallKit", at_ns: int, sessions: tuple[Octets, Octets, Places]
    ) -> Places:
        """Calls of these sessions, one after another; when each session's last one is over."""
        rng, now = self._rng, law(calls, CALL_USUAL, calls.changes, at_ns)
        traces, roots, clock_ns = sessions
        many = np.floor(now["each"] + rng.random(len(clock_ns))).astype(np.int64)
        for turn in range(int(many.max(initial=0))):
            mine = np.flatnonzero(many > turn)
            n = len(mine)
            took_ns = (_spread(rng, now["latency"], now["spread"], n) * SECOND_NS).astype(np.int64)
            end_ns, fails = clock_ns[mine] + took_ns, rng.random(n) < now["errors"]
            ids = Ids(traces[mine], _random_ids(rng, n, 8), roots[mine])
            told = {name: _spread(rng, now[name], now["spread"], n) for name in _USAGE if name in now}
            for failed in (False, True):
                those = fails == failed
                if not those.any():
                    continue
                self._put(number, self._rows(ids, clock_ns[mine], end_ns, told, those,
                                             templates.shared(now, failed), failed), end_ns[those])  # fmt: skip
            clock_ns = clock_ns.copy()
            clock_ns[mine] = end_ns
        return clock_ns

    @staticmethod
    def _rows(
        ids: Ids,
        start_ns: Places,
        end_ns: Places,
        told: Mapping[str, Floats],
        those: Bools,
        shared: bytes,
        failed: bool,
    ) -> Octets:
        """Those of the calls that failed, or those that did not; a call that failed tells no usage."""
        integers = [(_USAGE[name], told[name][those]) for name in told if name != "cost" and not failed]
        numbers = [(_USAGE[name], told[name][those]) for name in told if name == "cost" and not failed]
        return rows(ids.chosen(those), start_ns[those], end_ns[those], shared, (), integers, numbers)

    def _put(self, number: int, spans: Octets, end_ns: Places) -> None:
        """Have spans, one at least, wait for the slot in which they end."""
        order = np.argsort(end_ns, kind="stable")
        slots = end_ns[order] // SLOT_NS
        found, first = np.unique(slots, return_index=True)
        for slot, part in zip(found.tolist(), np.split(spans[order], first[1:]), strict=True):
            self._waiting.setdefault(slot, []).append((number, part.tobytes()))

    def _points(self, minute_ns: int) -> bytes:
        """A point of each metric, of the minute that begins then."""
        request = ExportMetricsServiceRequest()
        for metric in self.test.metrics:
            self._point(request, metric, minute_ns)
        return request.SerializeToString()

    def _point(self, request: ExportMetricsServiceRequest, metric: Metric, minute_ns: int) -> None:
        now = law(metric, POINT_USUAL, metric.changes, minute_ns - self.zero_ns)
        told = request.resource_metrics.add()
        said = {"service.name": "tocsin-test", "tenant.id": metric.tenant, "gen_ai.agent.name": metric.agent}
        for name, value in said.items():
            if value:
                told.resource.attributes.add(key=name).value.string_value = value
        one = told.scope_metrics.add().metrics.add(name=metric.metric, unit=metric.unit)
        if metric.kind == "sum":
            one.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
            one.sum.is_monotonic = True
        point = (one.sum if metric.kind == "sum" else one.gauge).data_points.add()
        point.start_time_unix_nano, point.time_unix_nano = minute_ns, minute_ns + TICK_NS - 1
        point.as_double = float(now["value"] * (1 + now["noise"] * self._rng.standard_normal()))


_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cost": "gen_ai.usage.cost",
}
"""Attributes by the numbers of a call."""


class _Kit:
    """What an agent's spans share, made once for each kind."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.calls = [_CallKit(agent, calls) for calls in agent.calls]
        self._roots: dict[tuple[str, str, bool], bytes] = {}

    def root(self, version: str, outcome: str, failed: bool) -> bytes:
        """What the roots share that end so."""
        key = version, outcome, failed
        if key not in self._roots:
            said = _named("invoke_agent", self.agent.agent, _INTERNAL, self.agent.agent)
            said += text("gen_ai.agent.version", version) if version else b""
            said += text("agent.session.outcome", outcome) if outcome else b""
            self._roots[key] = said + (FAILED + text("error.type", "error") if failed else b"")
        return self._roots[key]


class _CallKit:
    """What calls of one kind share."""

    def __init__(self, agent: Agent, calls: Calls) -> None:
        self.agent, self.of = agent, calls
        self._shared: dict[tuple[str, str, str, str, bool], bytes] = {}

    def shared(self, now: Mapping[str, Any], failed: bool) -> bytes:
        """What those share that fail, or those that do not. No model answers a call that fails."""
        model, error, prompt = now.get("model", ""), now["error_type"], now.get("prompt", "")
        answered = "" if failed else now.get("response_model", "")
        key = model, answered, prompt, error, failed
        if key not in self._shared:
            calls, operation = self.of, OPERATION_NAMES[self.of.operation]
            kind = _CLIENT if calls.operation == LLM else _INTERNAL
            said = _named(operation or "work", calls.tool or model, kind, self.agent.agent, bool(operation))
            told = {"provider.name": calls.provider, "request.model": model, "tool.name": calls.tool}
            told["prompt.name"], _, told["prompt.version"] = prompt.rpartition(" ")
            for name, value in (told | {"response.model": answered}).items():
                said += text(f"gen_ai.{name}", value) if value else b""
            self._shared[key] = said + (FAILED + text("error.type", error) if failed else b"")
        return self._shared[key]


def _named(operation: str, of: str, kind: bytes, agent: str, tells: bool = True) -> bytes:
    said = text("gen_ai.operation.name", operation) if tells else b""
    return field(5, f"{operation} {of}".strip().encode()) + kind + said + text("gen_ai.agent.name", agent)


def _random_ids(rng: np.random.Generator, n: int, width: int) -> Octets:
    return rng.integers(0, 256, (n, width), np.uint8)


def _spread(rng: np.random.Generator, median: float, spread: float, n: int) -> Floats:
    """(n,) positive numbers of a log-normal law: this median, and a 95th percentile `spread` times as large."""
    return median * np.exp(math.log(spread) / P95 * rng.standard_normal(n))
