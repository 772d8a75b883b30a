"""Tocsin beside the Collector's spanmetrics connector, at real event time: one second a second.

    python -m tests.bench.paced --collector PATH [--rate 10000] [--seconds 60] [--rounds 3]

Both get the same sessions over OTLP/HTTP, in batches of 370 spans or so, each sent as the last of its sessions has
ended, and both have their metrics read every fifteen seconds, as Prometheus does. CPU is user and system time of the
process, from WARM_S seconds on; median of the rounds, which take turns. `tests.bench.collector` sends as fast as it
can, so that event time runs a hundred times as fast as here: what a slot, a tick and a label set cost weighs more
there, and what it costs to save what waits weighs more here.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from detectors.core.columns import SECOND_NS
from tests.bench.collector import Deployed, collector, post, tocsin
from tests.bench.sessions import BEGIN_NS, bodies
from tests.bench.soak import BATCH_SESSIONS, ROUND_S, Batch

WARM_S, SCRAPE_S = 20.0, 15.0
GOAL = 2.5
"""How many times as fast we would be."""


def stream(rate: float) -> tuple[list[Batch], int]:
    """Batches of ROUND_S seconds that make so many spans a second, and how far apart they are, in nanoseconds."""
    of_one = statistics.mean(Batch(body).spans for body in bodies(20, BATCH_SESSIONS))
    every_ns = round(of_one / rate * SECOND_NS)
    made = bodies(round(ROUND_S * SECOND_NS / every_ns), BATCH_SESSIONS, 2, every_ns=every_ns)
    return [Batch(body) for body in made], every_ns


def measured(deployed: Deployed, batches: Sequence[Batch], every_ns: int, seconds: float) -> float:
    """Spans a second of CPU time."""
    begin_s, begin_ns, spans, cpu_s, scraped_s = time.monotonic(), time.time_ns(), 0, None, time.monotonic()
    with httpx.Client(trust_env=False, timeout=30) as client:
        for number in itertools.count():
            turn, place = divmod(number, len(batches))
            at_s = begin_s + (number + 1) * every_ns / SECOND_NS
            if at_s - begin_s > WARM_S + seconds:
                break
            if cpu_s is None and at_s - begin_s > WARM_S:
                cpu_s, spans = deployed.cpu_s(), 0
            body = batches[place].again(turn, begin_ns - BEGIN_NS + turn * len(batches) * every_ns)
            time.sleep(max(0.0, at_s - time.monotonic()))
            post(client, deployed, [body])
            spans += batches[place].spans
            if time.monotonic() - scraped_s > SCRAPE_S:
                deployed.spans()
                scraped_s = time.monotonic()
    assert cpu_s is not None, "it took no longer than to warm up"
    behind_s = time.monotonic() - begin_s - WARM_S - seconds
    assert behind_s < 1.0, f"{behind_s:.1f} s behind: it was not real time; ask for a lower --rate"
    return spans / (deployed.cpu_s() - cpu_s)


def main() -> int:
    """Print what each does, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collector", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=10_000.0, help="spans a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    batches, every_ns = stream(given.rate)
    speeds: dict[str, list[float]] = {"collector": [], "tocsin": []}
    with tempfile.TemporaryDirectory(prefix="tocsin-paced-") as at:
        for number, name in itertools.product(range(given.rounds), speeds):
            here = Path(at) / f"{name}-{number}"
            here.mkdir()
            with collector(given.collector, here, "", "") if name == "collector" else tocsin(here) as deployed:
                speeds[name].append(measured(deployed, batches, every_ns, given.seconds))
    found = {name: statistics.median(each) for name, each in speeds.items()}
    ratio = found["tocsin"] / found["collector"]
    if given.json:
        print(json.dumps({"bench": "paced", "metric": "tocsin / collector", "value": round(ratio, 2), "unit": "x",
                          "goal": f">= {GOAL:g}", "holds": ratio >= GOAL}))  # fmt: skip
        return 0
    told = "".join(f"{name} {value / 1000:5.0f}  " for name, value in found.items())
    missed = "" if ratio >= GOAL else " MISSED"
    print(f"k spans a CPU second at real event time: {told} ratio {ratio:.2f} goal >= {GOAL:g}{missed}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
