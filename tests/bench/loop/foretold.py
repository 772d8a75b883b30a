"""What foretold bad ends: answers in tables of noise, how much of what is told is false, what is found, how fast."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from alertrules.outcome_classes import SHIPPED
from detectors.core.columns import SECOND_NS, Floats
from service.ledger.cohorts import Cohorts, cohorts
from service.ledger.histories import NUMBERS, Histories, Who, histories
from service.ledger.session_file import reading
from service.ledger.sessions import Sessions
from tests.bench.loop.ledger import BEGIN_NS, drawn

TABLES, AGENTS, RATE = 200, 3, 0.1
CASES = ((1_000, 2.0), (1_000, 3.0), (5_000, 1.5), (5_000, 2.0))
"""Sessions of an agent, and how many times the rate of bad ends a planted sign makes of it."""
TRUE_SIGN, TRUE_NUMBER = "empty_retrieval", "empty_retrievals"


def table(chance: np.random.Generator, each: int, times: float) -> Histories:
    """So many sessions an agent, in two versions and four tenants; a bad end is so many times as likely after one."""
    n = AGENTS * each
    numbers: dict[str, Floats] = {name: chance.poisson(0.15, n).astype(np.float64) for name in NUMBERS}
    numbers["lowest_score"] = np.where(chance.random(n) < 0.5, chance.random(n), np.nan)
    for name in ("tokens", "dollars", "seconds"):
        numbers[name] = chance.lognormal(0, 1, n)
    who = [Who(f"agent-{i % AGENTS}", f"v{i // 3 % 2}", "m", f"tenant-{i // 6 % 4}") for i in range(n)]
    rate = np.where(numbers[TRUE_NUMBER] > 0, min(1.0, RATE * times), RATE)
    keys = [i.to_bytes(16, "big") for i in range(n)]
    return Histories(keys, keys, who, np.arange(n), numbers, (chance.random(n) < rate).astype(np.float64))


def false_share(found: Cohorts) -> float:
    """The share of what is believed that is not the planted sign; 0 where nothing is."""
    told = found.believed
    return sum(one.sign.name != TRUE_SIGN for one in told) / len(told) if told else 0.0


def run() -> Iterator[str]:
    """Noise, then planted signs of growing lift, then a large record."""
    chance = np.random.default_rng(11)
    noise = [cohorts(table(chance, 1_000, 1.0)) for _ in range(TABLES)]
    answers = sum(bool(one.believed) for one in noise)
    yield f"of {TABLES} tables of noise ({noise[0].asked} questions each) {answers} have an answer (goal: at most 10%)"
    for sessions_each, times in CASES:
        found = [cohorts(table(chance, sessions_each, times)) for _ in range(TABLES // 10)]
        agents = [
            sum(one.sign.name == TRUE_SIGN and not one.who.tenant for one in each.believed) / AGENTS for each in found
        ]
        yield (
            f"a sign after which {RATE:.0%} become {RATE * times:.0%}, {sessions_each:,} sessions an agent: found in "
            f"{np.mean(agents):.0%} of agents; of what is told {np.mean([*map(false_share, found)]):.1%} is false"
        )
    with tempfile.TemporaryDirectory() as name:
        sessions = Sessions(Path(name), 30 * 86_400 * SECOND_NS, 1_000_000, str.encode)
        for number in range(80):
            sessions.add([drawn(chance, BEGIN_NS + number * SECOND_NS, 2_500)])
            sessions.write(BEGIN_NS)
        began_s = time.perf_counter()
        with closing(reading(Path(name))) as connection:
            asked = cohorts(histories(connection, 0, SHIPPED)).sessions
        yield f"{asked:,} sessions are looked at in {time.perf_counter() - began_s:.1f} s"
