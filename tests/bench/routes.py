"""Routes and inhibition beside the real Alertmanager: random trees, rules and label sets, and where they differ.

`python -m tests.bench.routes [COUNT]`, 1,000 of each by default; needs Debian's prometheus-alertmanager.
"""

import json
import sys
import tempfile
from pathlib import Path

from tests.alertrules.test_routes import differing_inhibition, differing_routes


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as directory:
        for case, differing in (("routes", differing_routes), ("inhibition", differing_inhibition)):
            found = differing(Path(directory) / ".", count, 2026)
            for one in found[:10]:
                print(one, file=sys.stderr)
            line = {"bench": "routes", "case": case, "metric": f"differ of {count}", "value": len(found)}
            print(json.dumps(line | {"unit": "cases", "goal": "== 0", "holds": not found}))


if __name__ == "__main__":
    main()
