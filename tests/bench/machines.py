"""What passes between machines, and what a core of each role does.

    python -m tests.bench.machines [--rates 200,2000,10000] [--json]

Two streams: sessions of 50 agents for 40 tenants, each pair as busy as any other, which is the hardest for cells; and
the demo's fleet of 40 agents. One source partition is ingested as role ingest does, its reports are compressed as the
producer does (zstd), and merged as role detect does. Seconds are CPU time of one process. Bytes are told as a share of
the spans' own, both as SDKs write them and as Kafka keeps them with zstd. A state is what the next owner goes on from:
its bytes are told for a live span, and as a share of the spans where it is written every five minutes. All sessions of
both streams are named, and each is of one trace: that traces of several partitions can be joined costs most there. What
the record of sessions adds is measured beside: `TOCSIN_SESSIONS__RECORD=false` leaves it out. The second case is
the fleet with `TOCSIN_KAFKA__KEYED_BY=session`, as a fleet whose sessions have no names is: legs in place of stretches.
Last, the same reports are added up by an instance of role sum, as its one share, and detect is given what that reports.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cramjam
import numpy as np

from alertrules.parse import load
from detectors.core.columns import NO_EXAMPLES, SECOND_NS
from service.batch import Batch, Record, Signal, Tally
from service.demo.fleet import LIVE_NS, Fleet
from service.exchange.adding import Adding
from service.exchange.part import Part
from service.exchange.part import decoded as part_of
from service.exchange.part import encoded as part_bytes
from service.exchange.report import decoded, encoded
from service.exchange.shard import Made, Shard
from service.ingest.join.join import UNSEEDED
from service.ingest.legs import NO_LEGS
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.otlp.scanner import Scanner
from service.ingest.stretches import NO_STRETCHES
from service.pipeline.front import Merging
from service.pipeline.pipeline import FORMAT, READABLE, Pipeline
from tests.bench.sessions import BEGIN_NS, bodies

ROOT = Path(__file__).parents[2]
SOURCE, SLOTS, LIMITS = "spans/0", "tocsin.slots/0", IngestLimits()
SPANS_A_SESSION = 10
SPANS_MAX = 300_000
"""Of one case: few seconds of a fast stream show what many would."""
LIVE_S, STATE_EVERY_S = 110, 300
"""How long a span is live, by lateness, the idle time of its session and its own length; and how often a state is."""
Row = dict[str, float | str]


def steady(rate: int) -> tuple[int, list[tuple[bytes, int]]]:
    """Bodies of a second each, with the clock at their ends."""
    seconds = max(20, min(900, SPANS_MAX // rate))
    made = bodies(seconds, max(1, rate // SPANS_A_SESSION))
    return seconds, [(body, BEGIN_NS + (i + 1) * SECOND_NS) for i, body in enumerate(made)]


def fleet(minutes: int) -> tuple[int, list[tuple[bytes, int]]]:
    """The live part of the demo's fleet."""
    chunks = (chunk for chunk in Fleet(1).chunks() if chunk.live)
    until_ns = LIVE_NS + minutes * 60 * SECOND_NS
    return minutes * 60, [(c.body, c.until_ns) for c in chunks if c.until_ns <= until_ns]


def compressed(parts: Sequence[bytes]) -> int:
    """Bytes of what is written together, one batch each."""
    return sum(len(bytes(cramjam.zstd.compress(part))) for part in parts)


def _rewritten(report: bytes, without: Callable[[Part], Part]) -> bytes:
    """A report of parts that lack something."""
    known = decoded(report)
    return encoded(replace(known, parts=[part_bytes(without(part_of(body))) for body in known.parts]))


def _without_examples(part: Part) -> Part:
    """What sums and histograms alone take, and stretches: no trace to look at."""
    return replace(part, slot=replace(part.slot, examples=NO_EXAMPLES), known=np.empty(0, np.int32))


def _without_stretches(part: Part) -> Part:
    """What is told of calls."""
    return replace(part, stretches=NO_STRETCHES, legs=NO_LEGS, is_whole=False)


def _without_record(part: Part) -> Part:
    """What `TOCSIN_SESSIONS__RECORD=false` leaves."""
    return replace(part, legs=NO_LEGS, is_whole=False)


def _detected(reports: Sequence[bytes], end_ns: int) -> tuple[float, int]:
    """Seconds in which a detect instance reads reports, and the cells that it has then."""
    detect = Pipeline(LIMITS, load([ROOT / "alertrules" / "packs"]), 0, front=Merging(LIMITS, UNSEEDED, UNSEEDED))
    begun_s = time.process_time()
    for report in reports:
        detect.step(Batch((Record(Signal.TRACES, report, SLOTS),), {}), end_ns)
    return time.process_time() - begun_s, len(detect.ingest.cells)


def _added(reports: Sequence[bytes], end_ns: int) -> tuple[float, list[bytes]]:
    """Seconds in which an instance of role sum adds reports up as its one share, and what it reports."""
    adding, sums, tally = Adding(made(tells=True), SLOTS), list[bytes](), Tally()
    begun_s = time.process_time()
    for at, report in enumerate(reports):
        adding.step(Batch((Record(Signal.TRACES, report, SLOTS),), {SLOTS: at + 1}), end_ns, tally)
        sums += map(encoded, adding.take({"tocsin.slots": 1}, end_ns))
    return time.process_time() - begun_s, sums


def made(tells: bool) -> Made:
    """What a shard and a share are made of; `tells` as for a shard."""
    return Made(LIMITS, Scanner(), Local(), UNSEEDED, UNSEEDED, tells, True, FORMAT, READABLE)


def measured(name: str, seconds: int, stream: list[tuple[bytes, int]], tells: bool = True) -> Row:
    """One stream through one shard and one detect instance; `tells` as for a shard."""
    shard = Shard(made(tells), SOURCE)
    tally, reports, begun_s, state = Tally(), list[bytes](), time.process_time(), b""
    for at, (body, now_ns) in enumerate(stream):
        shard.step(Batch((Record(Signal.TRACES, body, SOURCE),), {SOURCE: at + 1}), now_ns, tally)
        reports += map(encoded, shard.take({"spans": 1}, now_ns))
    ingest_s = time.process_time() - begun_s
    file, live = io.BytesIO(), shard.ingest.join.spans
    begun_s = time.process_time()
    np.savez(file, **shard.snapshot())  # type: ignore[arg-type]
    state, state_s = file.getvalue(), time.process_time() - begun_s
    begun_s, end_ns = time.process_time(), stream[-1][1] + 3600 * SECOND_NS
    shard.ingest.pass_to(end_ns)  # All that is open closes, as it would have a minute later.
    shard.step(Batch((), {}), end_ns, tally)
    reports += map(encoded, shard.take({"spans": 1}, end_ns))
    ingest_s += time.process_time() - begun_s
    small = [_rewritten(report, _without_record) for report in reports]
    (detect_s, cells), (unrecorded_s, _) = (_detected(told, end_ns) for told in (reports, small))
    sum_s, sums = _added(reports, end_ns)
    summed_s, _ = _detected(sums, end_ns)
    spans, raw = tally.spans, sum(len(body) for body, _ in stream)
    packed, slots = compressed([body for body, _ in stream]), compressed(reports)
    plain, of_calls = (
        compressed([_rewritten(report, without) for report in reports])
        for without in (_without_examples, _without_stretches)
    )
    unrecorded = compressed(small)
    a_live = compressed([state]) / max(live, 1)
    states = a_live * LIVE_S / STATE_EVERY_S * spans
    return {
        "stream": name, "spans": spans, "spans_a_second": spans / seconds, "span_bytes": raw / spans,
        "span_bytes_zstd": packed / spans, "cells": cells, "report_bytes_a_span": slots / spans,
        "examples_a_span": (slots - plain) / spans, "stretches_a_span": (slots - of_calls) / spans,
        "record_a_span": (slots - unrecorded) / spans, "record_of_raw": (slots - unrecorded) / raw,
        "reports_of_raw": slots / raw, "reports_of_zstd": slots / packed,
        "state_bytes_a_live_span": a_live,
        "states_of_raw": states / raw, "state_s_a_million": state_s / max(live, 1) * 1e6,
        "ingest_kspans_a_core": spans / ingest_s / 1e3, "detect_ms_a_slot": detect_s / max(1, tally.slots) * 1e3,
        "sum_kspans_a_core": spans / sum_s / 1e3, "summed_ms_a_slot": summed_s / max(1, tally.slots) * 1e3,
        "detect_kspans_a_core": spans / detect_s / 1e3, "unrecorded_kspans_a_core": spans / unrecorded_s / 1e3,
    }  # fmt: skip


LINE = (
    "{stream:18} {spans_a_second:7.0f} spans/s, {span_bytes:5.0f} B each ({span_bytes_zstd:4.0f} B zstd), "
    "{cells:6} cells; reports {report_bytes_a_span:6.2f} B a span, {examples_a_span:5.2f} of it examples, "
    "{stretches_a_span:5.2f} traces' stretches and legs, {record_a_span:5.2f} for the record = "
    "{reports_of_raw:7.3%} of raw ({record_of_raw:6.3%} the record), {reports_of_zstd:7.3%} of zstd; "
    "state {state_bytes_a_live_span:5.1f} B a live span = {states_of_raw:6.3%}; "
    "a core: ingest {ingest_kspans_a_core:5.0f}k, detect {detect_kspans_a_core:6.0f}k spans/s "
    "({unrecorded_kspans_a_core:.0f}k without the record), "
    "{detect_ms_a_slot:5.1f} ms a slot; with role sum: that {sum_kspans_a_core:.0f}k spans/s, detect "
    "{summed_ms_a_slot:.1f} ms a slot; state {state_s_a_million:.2f} s a million"
)


def cases(rates: Sequence[int]) -> Iterator[Row]:
    """All of them."""
    yield measured("fleet", *fleet(10))
    yield measured("fleet, by session", *fleet(10), tells=False)
    for rate in rates:
        yield measured(f"sessions, {rate}/s", *steady(rate))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="200,2000,10000", help="spans a second of the partition")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for row in cases([int(rate) for rate in given.rates.split(",")]):
        print(
            json.dumps(row) if given.json else LINE.format(**row),
            flush=True,
        )


if __name__ == "__main__":
    main()
