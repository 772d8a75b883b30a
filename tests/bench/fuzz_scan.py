"""The scanner against protobuf, over as many odd and damaged bodies as asked for.

    python -m tests.bench.fuzz_scan

Each body is read by protobuf, and by the scanner with memory ending where the body does: both must refuse the same
bodies and give the same columns. The first difference is printed, and is exit 1.
"""

import argparse
import json
import time

from tests.service.ingest.decoders import GuardedScanner, compare
from tests.service.ingest.noise import Noise

PAGES = 64
AT_ONCE = 1_000


def main() -> int:
    """Compare, and print how many bodies were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    noise, scanners, begun = Noise(given.seed), [GuardedScanner(PAGES)], time.perf_counter()
    counts = {"read": 0, "refused": 0, "different": 0}
    for _ in range(0, given.bodies, AT_ONCE):
        try:
            read, refused = compare([noise.body() for _ in range(AT_ONCE)], scanners)
        except AssertionError as error:
            counts["different"] += 1
            print(str(error)[:4000])
            break
        counts["read"] += read
        counts["refused"] += refused
    for metric, value in counts.items():
        asked = "<= 0" if metric == "different" else None
        row = {"bench": "fuzz_scan", "case": f"seed {given.seed}", "metric": metric, "value": value, "unit": "bodies"}
        if given.json:
            print(json.dumps(row | {"goal": asked, "holds": value <= 0 if asked else None}))
        else:
            print(f"{metric:10} {value:8} bodies")
    if not given.json:
        print(f"{time.perf_counter() - begun:.0f} s")
    return int(counts["different"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
