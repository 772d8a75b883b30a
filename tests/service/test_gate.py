"""Pace, pauses and the breaker of one destination, on a clock of our own."""

from service.delivery.gate import Gate
from service.notifiers.request import Pace

SECOND_NS = 10**9


def passed(gate: Gate, until_s: int) -> list[int]:
    """The seconds at which a delivery could start, one at a time, each over at once."""
    at: list[int] = []
    for second in range(until_s):
        while not gate.wait_s(second * SECOND_NS):
            gate.enter(second * SECOND_NS)
            gate.leave()
            at.append(second)
    return at


def test_a_burst_and_then_the_pace() -> None:
    """Five at once, then one a second."""
    assert passed(Gate(Pace(1.0, 5), 4), 4) == [0, 0, 0, 0, 0, 1, 2, 3]


def test_a_pause_holds_everything() -> None:
    """Nothing starts before it is over, and no burst follows it."""
    gate = Gate(Pace(1.0, 5), 4)
    assert gate.throttle(3.0, 0) == 3.0
    assert gate.wait_s(0) == 3.0
    assert passed(gate, 7) == [3, 4, 5, 6]


def test_a_pause_in_the_midst_of_a_burst() -> None:
    """What was left of the burst is not made up for later."""
    gate = Gate(Pace(1.0, 5), 4)
    gate.enter(0)
    gate.leave()
    gate.throttle(2.0, 0)
    assert passed(gate, 5) == [2, 3, 4]


def test_pauses_grow_only_with_repeats() -> None:
    """A first one of a second, twice as long each time it is said again; not for four senders' answers at once."""
    gate = Gate(Pace(10.0, 5), 4)
    now_ns, pauses = 0, []
    for _ in range(7):
        pauses.append(gate.throttle(None, now_ns))
        assert [gate.throttle(None, now_ns) for _ in range(3)] == pauses[-1:] * 3
        now_ns += int(pauses[-1] * SECOND_NS)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert gate.throttle(0.0, now_ns) == 30
    gate.mend()
    assert gate.throttle(None, now_ns + 31 * SECOND_NS) == 1


def test_a_tripped_gate_lets_one_probe_through() -> None:
    """At growing distances, until one is taken."""
    gate = Gate(Pace(1.0, 5), 4)
    gate.trip(0)
    assert gate.wait_s(59 * SECOND_NS) > 0
    assert gate.wait_s(60 * SECOND_NS) == 0
    gate.enter(60 * SECOND_NS)
    assert gate.wait_s(61 * SECOND_NS) > 0
    gate.leave()
    gate.trip(61 * SECOND_NS)
    assert gate.wait_s(180 * SECOND_NS) > 0
    assert gate.wait_s(181 * SECOND_NS) == 0
    gate.mend()
    assert gate.trips == 0


def test_senders_are_bounded() -> None:
    """No more under way than allowed, whatever the pace."""
    gate = Gate(Pace(100.0, 100), 2)
    gate.enter(0)
    gate.enter(0)
    assert gate.wait_s(0) > 0
    gate.leave()
    assert gate.wait_s(0) == 0
