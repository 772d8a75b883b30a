"""What a live trace and a series take in memory, and whether a million of the one and 100,000 of the other fit.

    python -m tests.bench.memory [--traces N] [--series N] [--json]

Each case is measured in a process of its own, as resident memory after garbage was collected. A trace is an agent's
run, a call of a model and one of a tool, in a session of its own, as SDKs write them. `waiting` is before the slots of
its spans closed; `counted` is after, traces having come in waves 10 s apart, as long as its session stays open. A
series is one label set of a rule: its cell in ingest, and what the rule keeps of it after a day.
"""

import argparse
import ctypes
import gc
import json
import os
import random
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from alertrules.parse import load
from detectors.core.columns import CELL_LABELS, SECOND_NS, SLOT_NS, TICK_NS, Slot
from detectors.core.series import SeriesTable
from service.batch import Record, Signal, Tally
from service.ingest.kernel.constants import (
    UNIT_COLUMNS,
    UNIT_DOLLARS,
    UNIT_FAILED,
    UNIT_OUTCOME,
    UNIT_SECONDS,
    UNIT_WEIGHT,
)
from service.ingest.limits import IngestLimits
from service.ingest.rollup import roll_up
from service.ingest.stage import Ingest
from service.pipeline.rule_runner import RuleRunner
from tests.bench.sessions import AGENTS, BEGIN_NS, MODELS, RESOURCE, TENANTS, Value, _call, _span

PACKS = Path(__file__).parents[2] / "alertrules" / "packs"
GOAL_TRACES, GOAL_SERIES, GOAL_BYTES = 1_000_000, 100_000, 2 << 30
BODY, WAVES = 250, 40
NEVER_NS = 10**6 * SECOND_NS
Sizes = dict[str, float]


def resident() -> int:
    """Bytes that this process holds, garbage left out."""
    gc.collect()
    with suppress(OSError, AttributeError):  # Not glibc: then what the allocator keeps counts, too.
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def template(chance: random.Random, at_ns: int, traces: int) -> bytes:
    """A request of so many traces of three spans, children first, that end within 10 s of `at_ns`."""
    request = ExportTraceServiceRequest()
    for _ in range(traces):
        agent, trace_id, root = chance.choice(AGENTS), chance.randbytes(16), chance.randbytes(8)
        shared: dict[str, Value] = {
            "gen_ai.conversation.id": f"conv_{uuid.UUID(bytes=chance.randbytes(16)).hex}",
            "gen_ai.agent.name": agent,
            "tenant.id": chance.choice(TENANTS),
        }
        group = request.resource_spans.add()
        for key, text in {"service.name": agent, **RESOURCE}.items():
            group.resource.attributes.add(key=key).value.string_value = text
        add, begun_ns, end_ns = group.scope_spans.add().spans.append, at_ns, at_ns
        for kind in ("chat", "execute_tool"):
            name, said = _call(chance, kind, chance.choice(MODELS))
            start_ns, end_ns = end_ns, end_ns + chance.randrange(SECOND_NS)
            add(_span(trace_id, chance.randbytes(8), root, name, (start_ns, end_ns), said | shared))
        said = {"gen_ai.operation.name": "invoke_agent"}
        add(_span(trace_id, root, b"", f"invoke_agent {agent}", (begun_ns, end_ns), said | shared))
    return request.SerializeToString()


class Copies:
    """Copies of a request, each with other ids: cheap to make, so that the making leaves no traces in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for group in request.resource_spans for span in group.scope_spans[0].spans]
        binary = {name for span in spans for name in (span.trace_id, span.span_id)}
        self._binary = [(len(name), self._places(name)) for name in binary]
        texts = set(re.findall(rb"conv_([0-9a-f]{32})|chatcmpl-([0-9a-f]+)", body))
        self._texts = [(len(text), self._places(text)) for pair in texts for text in pair if text]

    def _places(self, name: bytes) -> list[int]:
        return [found.start() for found in re.finditer(re.escape(name), self._body)]

    def next(self, chance: random.Random) -> bytes:
        """One more."""
        body = bytearray(self._body)
        for size, places in self._binary:
            fresh = chance.randbytes(size)
            for at in places:
                body[at : at + size] = fresh
        for size, places in self._texts:
            fresh = chance.randbytes(size).hex()[:size].encode()
            for at in places:
                body[at : at + size] = fresh
        return bytes(body)


def traces(count: int, waves: int) -> Sizes:
    """Bytes of a live trace whose spans wait, or were counted if they came in waves; and of the process without any."""
    limits = IngestLimits(session_idle_ns=NEVER_NS, session_max_ns=NEVER_NS, traces_max=2 * count, spans_max=8 * count)
    chance, tally = random.Random(1), Tally()
    ingest = Ingest(limits)

    def read(into: Ingest, body: bytes, now_ns: int) -> None:
        into.read(Record(Signal.TRACES, body, "p"), now_ns, tally)
        for _ in into.closed_slots(now_ns, tally):
            pass

    read(Ingest(limits), template(chance, BEGIN_NS, BODY), BEGIN_NS)
    empty = resident()
    for wave in range(waves):
        at_ns = BEGIN_NS + wave * SLOT_NS
        copies = Copies(template(chance, at_ns, BODY))
        for _ in range(count // waves // BODY):
            read(ingest, copies.next(chance), at_ns)
    if waves > 1:
        at_ns += 120 * SECOND_NS
        read(ingest, template(chance, at_ns, 1), at_ns)
    live = ingest.join.traces
    assert live >= count // waves // BODY * BODY * waves and not tally.dropped, tally.dropped
    return {"trace": (resident() - empty) / live, "process": empty}


def cells(count: int) -> Sizes:
    """Bytes of a cell of ingest."""
    before, table = resident(), SeriesTable(CELL_LABELS, count + 2)
    fill(table, count)
    return {"cell": (resident() - before) / count}


def fill(table: SeriesTable, count: int) -> None:
    """Cells of sessions, each of an agent of its own: every shipped rule looks at them."""
    for number in range(count):
        table.id_of(
            (f"tenant-{number % 1000:04d}", f"agent-{number:06d}", "session", "", "", "", "1.14.2", "", "", ""), 0
        )


def counted_once(count: int) -> Slot:
    """A slot in which each of so many cells counted a session."""
    cell, units = np.arange(1, count + 1, dtype=np.int32), np.zeros((UNIT_COLUMNS, count))
    units[UNIT_WEIGHT], units[UNIT_FAILED], units[UNIT_DOLLARS] = 1.0, cell % 100 == 0, 0.01 + cell % 7
    units[UNIT_SECONDS], units[UNIT_OUTCOME] = 1.0 + cell % 30, cell % 4
    return roll_up(BEGIN_NS, units, cell, 0, np.full(count, -1, np.int32))


def rules(count: int) -> Sizes:
    """Bytes of a series of each shipped rule, by its alert: view, detector and ledger."""
    table, sizes = SeriesTable(CELL_LABELS, count + 2), {}
    fill(table, count)
    slot = counted_once(count)
    for rule in load([PACKS]).rules:
        before, runner = resident(), RuleRunner(rule.model_copy(update={"series_max": count + 2}))
        for hour in range(24):
            at_ns = BEGIN_NS - BEGIN_NS % TICK_NS + hour * 3_600 * SECOND_NS
            runner.add(replace(slot, start_ns=at_ns), table)
            runner.tick(at_ns)
        assert len(runner.view.series) == count
        sizes[rule.name] = (resident() - before) / count
        _KEPT.append(runner)  # Or its memory would be taken for the next one's.
    return sizes


_KEPT: list[RuleRunner] = []


def apart(measure: Callable[..., Sizes], *given: int) -> Sizes:
    """What it measures in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *given).result()


def results(count: int, series: int) -> Iterator[tuple[str, str, float, str, str | None, bool | None]]:
    """(case, metric, value, unit, goal, whether it holds)."""
    waiting, counted = apart(traces, count, 1), apart(traces, count, WAVES)
    cell, by_rule = apart(cells, series)["cell"], apart(rules, series)
    yield "process, nothing live", "memory", counted["process"] / 2**20, "MiB", None, None
    yield "live trace, waiting", "memory", waiting["trace"], "bytes", None, None
    yield "live trace, counted", "memory", counted["trace"], "bytes", None, None
    yield "cell of ingest", "memory", cell, "bytes", None, None
    for name, size in by_rule.items():
        yield f"series of {name}", "memory", size, "bytes", None, None
    others = counted["process"] + GOAL_SERIES * (cell + max(by_rule.values()))
    for case, size in (("waiting", waiting["trace"]), ("counted", counted["trace"])):
        total = others + GOAL_TRACES * size
        asked = (f"<= {GOAL_BYTES / 2**30:g}", total <= GOAL_BYTES) if case == "counted" else (None, None)
        yield f"1,000,000 traces {case}, 100,000 series", "memory", total / 2**30, "GiB", *asked


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=50_000)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.traces < BODY * WAVES:
        parser.error(f"--traces: fewer than {BODY * WAVES} tell nothing")
    for case, metric, value, unit, goal, holds in results(given.traces, given.series):
        row = {"bench": "memory", "case": case, "metric": metric, "value": round(value, 3), "unit": unit}
        told = "" if goal is None else f"goal {goal} {unit}{'' if holds else ' MISSED'}"
        print(
            json.dumps(row | {"goal": goal, "holds": holds})
            if given.json
            else f"{case:42} {value:9.2f} {unit:6} {told}"
        )
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
