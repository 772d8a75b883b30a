"""Conversations whose turns lie on several partitions, and what slots say of them, whoever counted.

Numbers are such that their sums are exact: what is compared must not depend on which was added first.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from detectors.core.columns import SECOND_NS, Entries, Slot
from detectors.core.series import SeriesTable
from service.batch import Record, Signal
from service.causes.examples import LIFE_NS
from service.ingest.sights import Sights
from tests.service.ingest.wire import Sent, Value, at_ns, body

EVERY_S = 5
TOPIC = "spans"
CONVERSATION, OUTCOME = "gen_ai.conversation.id", "session.outcome"
NOT_COME = 99


def turns(chance: random.Random, number: int, begin_s: float, late: float) -> list[tuple[float, Sent]]:
    """A conversation: its spans, each with the second in which it arrives."""
    agent, tenant = f"agent-{chance.randrange(3)}", chance.choice(("acme", "umbrella"))
    name = f"conversation-{number}" if chance.random() < 0.9 else ""
    spans, now_s = list[tuple[float, Sent]](), begin_s
    for turn in range(chance.choice((1, 2, 3, 6))):
        trace = chance.getrandbits(120) << 8 | turn
        spans += (made := _turn(chance, trace, now_s, agent, tenant, name, late))
        now_s = max(span.end_s for _, span in made) + chance.choice((0.5, 3, 12, 25, 27.5, 45))
    return spans


def _turn(
    chance: random.Random, trace: int, begin_s: float, agent: str, tenant: str, name: str, late: float
) -> list[tuple[float, Sent]]:  # fmt: skip
    """A turn: calls one after another, and a root; or one whose parent is somebody else's; or none."""
    kind, end_s = chance.choices(("root", "top", "none"), (8, 1, 1))[0], begin_s
    of_tenant: dict[str, Value] = {"tenant.id": tenant}
    own = of_tenant | ({CONVERSATION: name} if name else {})
    said = own if chance.random() < 0.7 else of_tenant  # Else the root alone names the conversation.
    spans, calls = list[Sent](), chance.choice((1, 2, 4, 9))
    for call in range(calls):
        start_s, end_s = end_s, end_s + chance.choice((0.25, 1.5, 4, 11))
        spans.append(_call(chance, trace, call + 2, (start_s, end_s), said))
    more: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent, **own}
    more |= {"gen_ai.agent.version": chance.choice(("1", "2")), "gen_ai.request.model": "gpt-4o"}
    if chance.random() < 0.4:
        more[OUTCOME] = chance.choice(("resolved", "escalated", "failed", "nobody knows"))
    if kind != "none":
        parent, failed = NOT_COME if kind == "top" else 0, chance.random() < 0.2
        spans.append(Sent(trace, 1, begin_s - 0.5, end_s + 0.125, parent, "invoke_agent", failed, attributes=more))
    late_s = 200 if chance.random() < late else 0.0
    return [(span.end_s + chance.random() * 15 + late_s * (span.span == 1), span) for span in spans]


def _call(
    chance: random.Random, trace: int, span: int, times: tuple[float, float], said: Mapping[str, Value]
) -> Sent:  # fmt: skip
    cost = chance.choice(({}, {"gen_ai.usage.cost": chance.randrange(1, 500) / 1024}))
    if chance.random() < 0.5:
        asked: dict[str, Value] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "unpriced"}
        asked |= {"gen_ai.usage.input_tokens": chance.randrange(20_000), "gen_ai.usage.output_tokens": 64}
        asked |= {"gen_ai.response.finish_reasons": chance.choice(("stop", "length"))}
        asked |= {"prompt.version": f"v{span % 3}", "gen_ai.response.model": f"unpriced-{span % 2}"}
        return Sent(trace, span, *times, 1, "chat", chance.random() < 0.1, attributes={**said, **asked, **cost})
    if chance.random() < 0.3:
        found: dict[str, Value] = {"openinference.span.kind": chance.choice(("RETRIEVER", "GUARDRAIL"))}
        documents = chance.randrange(3)
        found |= {"db.response.returned_rows": documents}
        if documents:
            found |= {"retrieval.documents.0.document.score": chance.randrange(1, 64) / 64}
        return Sent(trace, span, *times, 1, "search", attributes={**said, **found})
    tool: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": chance.choice(("find", "look")),
    }
    tool["gen_ai.tool.call.arguments"] = f'{{"place": {chance.randrange(2)}}}'
    return Sent(trace, span, *times, 1, "execute_tool", chance.random() < 0.1, attributes={**said, **tool})


def logs(
    partitions: int, seed: int, minutes: int, conversations: int, late: float = 0.03, begin_s: float = 0.0
) -> list[list[Record]]:
    """A body every five seconds on each partition. A trace lies on one of them, and a conversation on several.

    late     the share of roots that come when all else is counted; what they change depends on when that is
    begin_s  when it begins, in seconds after EPOCH_S
    """
    chance = random.Random(seed)
    arrivals: list[list[list[Sent]]] = [[[] for _ in range(partitions)] for _ in range(minutes * 60 // EVERY_S)]
    for number in range(conversations):
        for arrives_s, span in turns(chance, number, 10 + chance.random() * (minutes * 60 - 400), late):
            row = int(arrives_s) // EVERY_S
            if row < len(arrivals):
                arrivals[row][(span.trace >> 8) % partitions].append(span)
    for second, bodies in enumerate(arrivals):
        for number, spans in enumerate(bodies):  # What moves event time, and is a session of its own.
            end_s = (second + 1) * EVERY_S - 0.5
            pulse = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": f"pulse-{number}"}
            spans.append(Sent(second << 8 | number + 1, 1, end_s - 0.25, end_s, attributes=pulse))
            chance.shuffle(spans)

    def sent(spans: list[Sent]) -> bytes:
        moved = (replace(one, start_s=begin_s + one.start_s, end_s=begin_s + one.end_s) for one in spans)
        return body(*moved)

    return [
        [Record(Signal.TRACES, sent(bodies[number]), f"{TOPIC}/{number}") for bodies in arrivals]
        for number in range(partitions)
    ]


SUMS = ("count", "squares", "failed", "input_tokens", "output_tokens", "cost_usd", "unpriced", "free", "amount")
MIXES = ("duration", "cost", "outcome", "ending", "first_token", "prompt", "score", "failed_squares", "lengths")


def said_of(slot: Slot, cells: SeriesTable, sights: Sights) -> dict[str, Any]:
    """All that a slot says, by the names of cells and errors in place of their numbers."""

    def entries(column: Entries, named: Any = int) -> dict[Any, float]:
        rows = zip(column.cell.tolist(), column.bucket.tolist(), column.count.tolist(), strict=True)
        return {(cells.values(cell), named(bucket)): count for cell, bucket, count in rows}

    labels = [cells.values(cell) for cell in slot.cell.tolist()]
    seen, runs = slot.examples, slot.running
    said: dict[str, Any] = {name: dict(zip(labels, getattr(slot, name).tolist(), strict=True)) for name in SUMS}
    said |= {name: entries(getattr(slot, name)) for name in MIXES}
    said["error"] = entries(slot.error, sights.errors.values)
    said["examples"] = {
        (cells.values(cell), kind): (value, tuple(trace))
        for cell, kind, value, trace in zip(
            seen.cell.tolist(), seen.kind.tolist(), seen.value.tolist(), seen.trace.tolist(), strict=True
        )
    }
    said["running"] = {
        (cells.values(cell), tuple(first)): (tuple(trace), tuple(values), tool)
        for cell, first, trace, values, tool in zip(
            runs.cell.tolist(), runs.first.tolist(), runs.trace.tolist(), runs.values.tolist(), runs.tool, strict=True
        )
    }
    said["firsts"] = slot.firsts
    return said


def facts(slots: Sequence[Slot], cells: SeriesTable, sights: Sights) -> dict[tuple[int, str], Any]:
    """What slots say, by second and kind. Of examples it is the best of a quarter of an hour, which is what is told."""
    found: dict[tuple[int, str], Any] = {}
    for slot in slots:
        said, start_s = said_of(slot, cells, sights), (slot.start_ns - at_ns(0)) // SECOND_NS
        best = found.setdefault((slot.start_ns // LIFE_NS, "examples"), {})
        for key, example in said.pop("examples").items():
            if key not in best or example[0] >= best[key][0]:
                best[key] = example
        found |= {(start_s, name): values for name, values in said.items()}
    return found


def differences(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> list[str]:
    """What two instances say otherwise."""
    found = []
    for key in one.keys() | other.keys():
        mine, theirs = one.get(key, {}), other.get(key, {})
        if mine != theirs and isinstance(mine, dict) and isinstance(theirs, dict):
            found += [f"{key} {row}: {mine.get(row)} != {theirs.get(row)}" for row in mine.keys() | theirs.keys()
                      if mine.get(row) != theirs.get(row)]  # fmt: skip
        elif mine != theirs:
            found.append(f"{key}: {mine} != {theirs}")
    return sorted(found)
