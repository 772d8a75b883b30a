"""Late outcomes through a running daemon: a fleet with known truth, outcomes by the API, and what it says of them."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.service.ingest.wire import EPOCH_S, Sent, agent, body, chat
from tests.service.running import running

SESSIONS, TOGETHER, SIGN_SHARE = 4_500, 50, 0.2
BAD_WITH, BAD_WITHOUT = 0.4, 0.12
REPEATED, UNKNOWN, MALFORMED = 450, 60, 25
"""Outcomes that are sent twice, of sessions that there are not, and that cannot be read."""
QUICK = {"SAVE_EVERY": "500ms", "LATENESS": "1s", "SESSION_IDLE": "1s"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def session(number: int, at_s: float, fails: bool) -> list[Sent]:
    """A session of three spans that ended then, in which a tool failed or not."""
    said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    tool = Sent(number, 3, at_s - 2, at_s - 1, 1, "execute_tool search", fails, attributes=said)
    root = agent(number, 1, at_s - 5, at_s, f"agent-{number % 3}", gen_ai__conversation__id=f"conv-{number}")
    return [chat(number, 2, at_s - 4, at_s - 3, 1), tool, root]


def run() -> Iterator[str]:
    """Send the fleet, then what came of it."""
    chance, began_s = random.Random(5), time.time()
    signs = [chance.random() < SIGN_SHARE for _ in range(SESSIONS)]
    bad = [chance.random() < (BAD_WITH if sign else BAD_WITHOUT) for sign in signs]
    with tempfile.TemporaryDirectory() as at, running(Path(at), **QUICK) as daemon:
        door, web = daemon.addresses()
        with httpx.Client(trust_env=False, timeout=60) as client:
            for first in range(0, SESSIONS, TOGETHER):
                at_s = began_s - EPOCH_S - 300 + 200 * first / SESSIONS
                spans = [span for n in range(first, first + TOGETHER) for span in session(n + 1, at_s, signs[n])]
                client.post(door + "/v1/traces", content=body(*spans), headers=PROTOBUF).raise_for_status()
            clock = agent(SESSIONS + 9, 1, began_s - EPOCH_S - 1, began_s - EPOCH_S, "clock")
            client.post(door + "/v1/traces", content=body(clock), headers=PROTOBUF).raise_for_status()
            while counted(client, web)["tocsin_sessions_recorded_total"] < SESSIONS:
                time.sleep(0.2)
            yield f"{SESSIONS:,} sessions are in the record {time.time() - began_s:.0f} s after the first was sent"
            outcomes = [outcome(n, is_bad, began_s) for n, is_bad in enumerate(bad, 1)]
            outcomes += outcomes[:REPEATED] + [outcome(10**6 + n, False, began_s) for n in range(UNKNOWN)]
            outcomes += [{"session": "conv-1", "outcome": "resolved_7d"}] * MALFORMED
            chance.shuffle(outcomes)
            sent_s = time.perf_counter()
            client.post(web + "/api/v1/outcomes", json=outcomes)
            took_s = time.perf_counter() - sent_s
            said = counted(client, web)
            found = {name: said[f"tocsin_late_outcomes_total {name}"] for name in ("joined", "repeated", "waiting")}
            found["malformed"] = said["tocsin_late_outcomes_total malformed"]
            truth = {"joined": SESSIONS, "repeated": REPEATED, "waiting": UNKNOWN, "malformed": MALFORMED}
            yield f"of {len(outcomes):,} outcomes sent at once, in {took_s:.1f} s: {found}; truth: {truth}"
            while counted(client, web)["tocsin_log_records_total"] < SESSIONS:
                time.sleep(0.2)
            told = client.get(web + "/api/v1/cohorts", params={"outcome": "resolved_7d"}).json()
            yield f"ended badly by what came late: {told['bad']} of {told['known']}; truth: {sum(bad)} of {SESSIONS}"
            for one in told["believed"]:
                yield (
                    f"{one['agent']}: {one['words']}: {one['lift']:.1f} times ({one['lift_low']:.1f} to "
                    f"{one['lift_high']:.1f}); truth: {BAD_WITH / BAD_WITHOUT:.1f}"
                )


def outcome(number: int, is_bad: bool, at_s: float) -> dict[str, Any]:
    """Whether a session was resolved."""
    return {"session": f"conv-{number}", "outcome": "resolved_7d", "value": not is_bad, "at": at_s}


def counted(client: httpx.Client, web: str) -> Counter[str]:
    """Counters by name, and by name and result."""
    found: Counter[str] = Counter()
    for line in client.get(web + "/metrics").text.splitlines():
        name, _, value = line.rpartition(" ")
        if not line.startswith("#"):
            found[name.replace('{result="', " ").replace('"}', "")] = int(float(value))
    return found
