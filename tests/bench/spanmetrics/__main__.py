"""Tocsin's ingest beside the OpenTelemetry Collector's spanmetrics connector, on bytes alone: one core each.

    python -m tests.bench.spanmetrics

No door, no queue and no page of metrics: OTLP bodies in memory are decoded and counted. The connector, in Go (main.go,
which this builds with the `go` on the path), keeps calls, errors and durations by agent, tenant and operation; Tocsin
joins, prices, closes slots and sessions besides. Both read the same rounds, 24 s of a stream each, in turns; user and
system time, garbage collection with it, median of the rounds after --warm.
"""

import argparse
import gc
import json
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from detectors.core.columns import SECOND_NS
from service.ingest.otlp.scanner import Scanner
from tests.bench.collector import CONNECTOR
from tests.bench.scan import BODIES, Whole
from tests.bench.sessions import bodies

SESSIONS_A_BODY, GOAL = 55, 8.0


def built(directory: Path) -> Path:
    """The Go part, as a program."""
    program = directory / "spanmetrics"
    subprocess.run(["go", "build", "-o", program, "."], cwd=Path(__file__).parent, check=True)
    return program


def connector_s(process: "subprocess.Popen[bytes]", sent: Sequence[bytes]) -> float:
    """CPU seconds of the connector for one round."""
    assert process.stdin is not None and process.stdout is not None
    for body in sent:
        process.stdin.write(struct.pack("<I", len(body)) + body)
    process.stdin.write(struct.pack("<I", 0))
    process.stdin.flush()
    return float(process.stdout.readline())


def ingest_s(whole: Whole, sent: Sequence[bytes]) -> float:
    """CPU seconds of ingest for one round."""
    begun = time.thread_time()
    whole.read_all(sent)
    return time.thread_time() - begun


def main() -> int:
    """Print how many spans each reads in a CPU second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if shutil.which("go") is None:
        parser.error("there is no `go` on the path, which builds the Collector's part")
    whole, took, spans = Whole(Scanner()), list[tuple[float, float]](), list[int]()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as at:
        program = built(Path(at))
        with subprocess.Popen(
            [program, json.dumps(CONNECTOR)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            gc.set_threshold(50_000, 20, 50)  # As the daemon does.
            for number in range(given.warm + given.rounds):
                sent = bodies(BODIES, SESSIONS_A_BODY, number + 1, number * BODIES * SECOND_NS)
                before = whole.tally.spans
                took.append((connector_s(process, sent), ingest_s(whole, sent)))
                spans.append(whole.tally.spans - before)
            assert process.stdin is not None
            process.stdin.close()
    _print(given.json, spans[given.warm :], took[given.warm :])
    return 0


def _print(as_json: bool, spans: Sequence[int], took: Sequence[tuple[float, float]]) -> None:
    ratio = statistics.median(theirs / ours for theirs, ours in took)
    theirs, ours = (statistics.median(n / one[i] for n, one in zip(spans, took, strict=True)) for i in (0, 1))
    if as_json:
        row = {"bench": "spanmetrics", "case": "bytes", "metric": "tocsin / connector", "value": round(ratio, 2),
               "unit": "x", "goal": f">= {GOAL:g}", "holds": ratio >= GOAL}  # fmt: skip
        print(json.dumps(row))
        return
    missed = "" if ratio >= GOAL else " MISSED"
    told = f"connector {theirs / 1000:5.0f}  tocsin {ours / 1000:5.0f}"
    print(f"k spans a CPU second: {told}  ratio {ratio:.2f} goal >= {GOAL:g}{missed}")


if __name__ == "__main__":
    raise SystemExit(main())
