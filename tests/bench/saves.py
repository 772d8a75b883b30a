"""What a save and a look at /metrics cost where there are many series, and what the event loop feels of the save.

    python -m tests.bench.saves [--series 100000] [--rounds 5] [--json]

The pipeline has the shipped rules, and each series is an agent of its own that counted sessions for a day. Between two
saves every one of them counts for a minute more. The first save is whole, the others tell what differs from it. `copy`
is made between two steps; the file is written and synced after it. `loop` is the longest that a timer of an event loop
in the same process came late meanwhile. `page` is the text of /metrics. Medians of the rounds.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from alertrules.parse import load
from detectors.core.columns import SECOND_NS, SLOT_NS, TICK_NS, Slot
from service.ingest.limits import IngestLimits
from service.own_metrics.exposition import level_text
from service.pipeline.pipeline import Pipeline
from service.store.sqlite import Store
from tests.bench.memory import PACKS, counted_once, fill
from tests.bench.sessions import BEGIN_NS

HOURS = 24
FIRST_NS = BEGIN_NS - BEGIN_NS % TICK_NS
LOOK_S = 0.001


def learnt(series: int) -> tuple[Pipeline, Slot]:
    """A pipeline whose rules have seen so many series for a day, and what all of them count in a slot."""
    rules = load([PACKS])
    wide = tuple(rule.model_copy(update={"series_max": series + 2}) for rule in rules.rules)
    pipeline = Pipeline(IngestLimits(cells_max=series + 2), replace(rules, rules=wide), 10**18)
    fill(pipeline.ingest.cells, series)
    slot = counted_once(series)
    for hour in range(HOURS):
        at_ns = FIRST_NS + hour * 3_600 * SECOND_NS
        pipeline.judge([replace(slot, start_ns=at_ns + SLOT_NS * place) for place in range(2)], at_ns)
    return pipeline, slot


def go_on(pipeline: Pipeline, slot: Slot, minute: int) -> None:
    """Another minute, in which every series counts."""
    at_ns = FIRST_NS + HOURS * 3_600 * SECOND_NS + minute * TICK_NS
    pipeline.judge([replace(slot, start_ns=at_ns), replace(slot, start_ns=at_ns + TICK_NS)], at_ns)


async def lateness(until: asyncio.Event) -> float:
    """The longest that a timer came late, in seconds."""
    worst = 0.0
    while not until.is_set():
        begun = time.perf_counter()
        await asyncio.sleep(LOOK_S)
        worst = max(worst, time.perf_counter() - begun - LOOK_S)
    return worst


async def saved(pipeline: Pipeline, store: Store) -> dict[str, float]:
    """Seconds of one save, and its size."""
    done = asyncio.Event()
    late = asyncio.create_task(lateness(done))
    begun = time.perf_counter()
    state = await asyncio.to_thread(pipeline.snapshot)
    copied = time.perf_counter()
    name = await asyncio.to_thread(store.write_arrays, state.arrays, {}, state.alerts)
    await asyncio.to_thread(store.save, name, {}, state.alerts, [], 0)
    took = time.perf_counter() - begun
    done.set()
    size = (store.directory / name).stat().st_size
    return {"copy": copied - begun, "all": took, "loop": await late, "MiB": size / 2**20}


def shown(pipeline: Pipeline) -> dict[str, float]:
    """Seconds that the text of all levels takes, once they are there."""
    levels = pipeline.levels()
    begun = time.perf_counter()
    level_text(levels)
    return {"page": time.perf_counter() - begun}


def main() -> int:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pipeline, slot = learnt(given.series)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as at:
        store = Store(Path(at))
        first = asyncio.run(saved(pipeline, store)) | shown(pipeline)
        for minute in range(given.rounds):
            go_on(pipeline, slot, 2 * minute)
            rounds.append(asyncio.run(saved(pipeline, store)) | shown(pipeline))
        store.close()
    for case, some in (("first", [first]), ("later", rounds)):
        for name in first:
            value, unit = statistics.median(one[name] for one in some), "MiB" if name == "MiB" else "s"
            row = {
                "bench": "saves",
                "case": f"{given.series} series, {case}",
                "metric": name,
                "value": round(value, 4),
                "unit": unit,
            }
            print(json.dumps(row) if given.json else f"{given.series} series  {case}  {name:5} {value:9.3f} {unit}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
