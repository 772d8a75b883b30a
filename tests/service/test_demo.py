"""The demo, as a stranger sees it."""

import json
import subprocess
import sys
from itertools import islice

from service.demo.fleet import Fleet


def test_the_fleet_is_the_seed_s() -> None:
    """The same seed sends the same bytes, another one others."""
    first, again, other = ([chunk.body for chunk in islice(Fleet(seed).chunks(), 3)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_four_incidents_turn_into_four_pages() -> None:
    """Each of the four is paged by its own kind within ten minutes and resolved, and nothing else is."""
    command = [sys.executable, "-m", "service", "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    by_event = {
        event: [line for line in lines if line["event"] == event] for event in {line["event"] for line in lines}
    }
    assert by_event.keys() == {"incident", "page", "resolve", "summary"}
    assert {one["kind"] for one in by_event["incident"]} == {"errors", "latency", "cost", "outcomes"}
    assert {page["incident"] for page in by_event["page"]} == {one["id"] for one in by_event["incident"]}
    assert all(0 < page["delay_s"] <= 600 for page in by_event["page"])
    assert {one["id"] for one in by_event["resolve"]} == {page["id"] for page in by_event["page"]}
    (summary,) = by_event["summary"]
    assert (summary["incidents"], summary["paged"], summary["resolved"], summary["false_pages"]) == (4, 4, 4, 0)
