"""What the weekly review is worth: bad ends among the worst hundredth, against a random one."""

from collections.abc import Iterator

import numpy as np

from detectors.core.columns import Floats
from service.ledger.cohorts import cohorts
from service.ledger.histories import NUMBERS, Histories, Who
from service.ledger.worst import review, weights

AGENTS, EACH, RATE, WEEKS = 5, 4_000, 0.1, 20
TRUTH = {"failed_tool_calls": 2.5, "empty_retrievals": 4.0, "repeated_tool_calls": 2.0}
"""How many times as often a session ends badly after each of them; they multiply, up to 90%."""


def week(chance: np.random.Generator) -> Histories:
    """Sessions of five agents with signs of which three foretell a bad end."""
    n = AGENTS * EACH
    numbers: dict[str, Floats] = {name: chance.poisson(0.1, n).astype(np.float64) for name in NUMBERS}
    numbers["lowest_score"] = np.where(chance.random(n) < 0.5, chance.random(n), np.nan)
    for name in ("tokens", "dollars", "seconds"):
        numbers[name] = chance.lognormal(0, 1, n)
    rate = np.full(n, RATE)
    for name, times in TRUTH.items():
        rate *= np.where(numbers[name] > 0, times, 1.0)
    who = [Who(f"agent-{i % AGENTS}", "", "m", f"tenant-{i // AGENTS % 4}") for i in range(n)]
    keys = [chance.bytes(16) for _ in range(n)]
    bad = (chance.random(n) < np.minimum(rate, 0.9)).astype(np.float64)
    return Histories(keys, keys, who, np.arange(n), numbers, bad)


def run() -> Iterator[str]:
    """Weeks with plain weights, and with those that the week before taught."""
    chance = np.random.default_rng(3)
    for what, teaches in (("plain weights", False), ("weights that the week before taught", True)):
        worst, audit, clear = list[float](), list[float](), 0
        for number in range(WEEKS):
            learnt = weights(cohorts(week(chance))) if teaches else {}
            found = review(week(chance), learnt, number)
            (one, _), (other, _) = found.worst_bad, found.audit_bad
            worst.append(one.value)
            audit.append(other.value)
            clear += one.low > other.high
        yield (
            f"{what}: {np.mean(worst):.0%} of the worst hundredth ended badly, {np.mean(audit):.0%} of a random one; "
            f"their intervals are apart in {clear} of {WEEKS} weeks"
        )
