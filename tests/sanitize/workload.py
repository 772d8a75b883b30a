"""What the sanitizers watch: odd and damaged bodies, captures, and odd streams under tight limits, restored on the way.

    python -m tests.sanitize.workload BODIES STREAMS

It checks nothing itself: the sanitizers end the process at the first access or operation that is not sound.
"""

import random
import sys
from dataclasses import replace

import numpy as np

from detectors.core import loops
from detectors.core.columns import SECOND_NS
from service.batch import Batch, Record, Signal, Tally
from service.exchange.merge import Merge
from service.exchange.report import encoded
from service.exchange.shard import Shard
from service.ingest.join.join import UNSEEDED
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.meters import Meters
from service.ingest.otlp.scanner import Scanner
from service.ingest.stage import Ingest
from tests.service.exchange.machines import made
from tests.service.ingest.noise import FIXTURES, Noise
from tests.service.ingest.test_odd_streams import arrivals, limits, run
from tests.service.ingest.wire import Stream, at_ns

AT_ONCE = 16


def main() -> int:
    """Run it all once."""
    bodies, streams = map(int, sys.argv[1:])
    noise, scanner = Noise(3), Scanner()
    ingest = Stream()
    for _ in range(0, bodies, AT_ONCE):
        some = [noise.body() for _ in range(AT_ONCE)]
        scanner.scan(some).meaning()
        for body in some:
            scanner.scan([body])
            ingest.send_bytes(body, 10_000_000)
    ingest.flush()
    for path in sorted(FIXTURES.glob("*/traces*.binpb")):
        stream = Stream(lateness_ns=2**60)
        stream.send_bytes(path.read_bytes(), 10_000_000)
        stream.ingest = Ingest.restore(stream.ingest.snapshot(), IngestLimits(lateness_ns=2**60))
        stream.flush()
    for seed in range(streams):
        chance = random.Random(seed)
        given, sent = limits(chance), [(raw, now_s, "p/0") for raw, now_s, _ in arrivals(chance)]
        run(Scanner(), given, sent, stops=seed % 2 == 0, seed=(chance.getrandbits(63), chance.getrandbits(63)))
        exchanged(chance, given)
    packed()
    return 0


def exchanged(chance: random.Random, given: IngestLimits) -> None:
    """An odd stream on two partitions, whose sessions are joined elsewhere; either side is restored on the way."""
    theirs, sources, tally = replace(made(), limits=given), ("p/0", "p/1"), Tally()
    shards = {source: Shard(theirs, source) for source in sources}
    merge, until_ns = Merge(given, Local(), UNSEEDED, UNSEEDED, Meters()), 0
    for raw, now_s, _ in arrivals(chance):
        source, until_ns = chance.choice(sources), at_ns(now_s)
        shards[source].step(Batch((Record(Signal.TRACES, raw, source),), {}), until_ns, tally)
        for one in sources:
            for report in shards[one].take({"p": 2}, until_ns):
                list(merge.read_all([Record(Signal.TRACES, encoded(report), "t/0")], until_ns, tally))
        list(merge.take_closed())
        if chance.random() < 0.02:
            shards[source] = Shard.restore(theirs, source, shards[source].snapshot())
            merge = Merge.restore(merge.snapshot(), given, Local(), UNSEEDED, UNSEEDED, Meters())
    for shard in shards.values():
        shard.ingest.pass_to(until_ns + 100_000 * SECOND_NS)
        shard.step(Batch((), {}), until_ns, tally)
        for report in shard.take({"p": 2}, until_ns):
            list(merge.read_all([Record(Signal.TRACES, encoded(report), "t/0")], until_ns, tally))
    list(merge.flush(tally))
    assert merge.conversations.traces == 0


def packed() -> None:
    """The loops of the detectors, at the edges of their tables."""
    rng, rows = np.random.default_rng(1), np.arange(50)
    counts, unit = np.zeros((50, 40), np.uint8), np.full(50, 1 / 64, np.float32)
    for _ in range(30):
        loops.add_packed(counts, unit, rows, rng.poisson(3.0, (50, 40)).astype(float), 255.0)
    values = rng.poisson(1.0, (50, 40)).astype(float)
    loops.count_above(values, rng.uniform(-5, 45, 50))
    loops.histogram_ratios(values, rows, rng.uniform(-60, 60, 50), np.ones((50, 40, 3), np.int16), 1000.0)
    bucket = rng.integers(-240, 200, 500).astype(np.int32)
    at, offset = np.sort(rng.integers(0, 50, 500)), rng.integers(-60, 60, 50).astype(np.int32)
    loops.window_counts(bucket, np.ones(500), at, offset, np.ones(50), 40, 1)
    null = rng.dirichlet([9, 2, 2, 1, 1], 50)
    loops.outcome_ratios(null, rng.poisson(2.0, (50, 5)).astype(float), np.full(50, 9.0), np.array([0.1, 0.4]), 32)


if __name__ == "__main__":
    raise SystemExit(main())
