"""The whole daemon over OTLP/HTTP, CPU of its process by the number of spans; beside another checkout of it, in turns.

    python -m tests.bench.daemon [--against CHECKOUT] [--rounds 5]

CHECKOUT is a directory where `make install` was run. Both get the same bodies, one after another: large ones as a
Collector sends them, and small ones as SDKs do. User and system time as Linux counts it for the process, from the
first body until all spans show on `/metrics`; median of the rounds.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from detectors.core.columns import SECOND_NS
from service.ingest.otlp.scanner import Scanner
from tests.bench.collector import WARM, Deployed, over_http, tocsin
from tests.bench.kafka import SESSIONS_A_SECOND
from tests.bench.sessions import bodies
from tests.service.running import RUN

CASES = {"large bodies": (600, SESSIONS_A_SECOND), "small bodies": (4_000, 1)}
"""How many, and the sessions in each."""


@contextmanager
def daemon(checkout: Path | None, directory: Path) -> Iterator[Deployed]:
    """The daemon of this checkout, or of another."""
    command = RUN if checkout is None else ("env", "-C", str(checkout), ".venv/bin/python", "-m", "service", "run")
    with tocsin(directory, command=command) as deployed:
        yield deployed


def main() -> int:
    """Print a line for each shape of bodies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    versions: dict[str, Path | None] = {"tocsin": None}
    if given.against:
        versions["before"] = given.against.resolve()
    scanner, warm = Scanner(), bodies(WARM, SESSIONS_A_SECOND, 2, -WARM * SECOND_NS)
    warm_spans = sum(scanner.scan([body]).n_spans for body in warm)
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as at:
        for case, (count, sessions) in CASES.items():
            sent = bodies(count, sessions, every_ns=SECOND_NS * sessions // SESSIONS_A_SECOND)
            spans = sum(scanner.scan([body]).n_spans for body in sent)
            took: dict[str, list[float]] = {name: [] for name in versions}
            for number, name in itertools.product(range(given.rounds), versions):
                here = Path(at) / f"{case[:5]}-{name}-{number}"
                here.mkdir()
                with daemon(versions[name], here) as deployed:
                    took[name].append(over_http(deployed, sent, spans, warm, warm_spans))
            _print(given.json, case, spans, took)
    return 0


def _print(as_json: bool, case: str, spans: int, took: Mapping[str, Sequence[float]]) -> None:
    for name, seconds in took.items():
        value = spans / 1000 / statistics.median(seconds)
        if as_json:
            row = {"bench": "daemon", "case": case, "metric": name, "value": round(value, 1), "unit": "k spans/CPU s"}
            print(json.dumps(row), flush=True)
        else:
            print(f"{case:14} {name:8} {value:5.0f} thousand spans a CPU second", flush=True)


if __name__ == "__main__":
    sys.exit(main())
