"""However spans lie on partitions, and whoever ingests them, detect says what one undisturbed instance says."""

import random
from collections.abc import Sequence

import pytest

from alertrules.notice import Notice
from service.batch import Batch, Record, Signal
from service.exchange.merge import Merge
from tests.service.exchange.machines import TOPIC, Owner, detecting, read, restarted
from tests.service.ingest.wire import agent, at_ns, body, chat
from tests.service.test_pipeline import MINUTES, end_ns, pipeline, rules, tool

AGENTS, EVERY_S = 4, 5


def streams(partitions: int, seed: int) -> list[list[Record]]:
    """A body every five seconds on each partition: a fleet whose traces are each on one partition, by chance.

    Tools of one agent fail from minute 8 to 14, another one is slow from 12 to 20. From minute 22 to 30 four traces
    of a third one are a conversation, which lies on several partitions and so is longer than any of its traces.
    """
    chance = random.Random(seed)
    logs: list[list[Record]] = [[] for _ in range(partitions)]
    for second in range(0, MINUTES * 60, EVERY_S):
        spans: list[list] = [[] for _ in range(partitions)]  # type: ignore[type-arg]
        for i in range(AGENTS):
            for _ in range(2):
                end_s, trace = second + chance.random() * 5, chance.getrandbits(64)
                failed = i == 1 and 480 <= second < 840 and chance.random() < 0.6
                seconds = 3.0 if i == 2 and 720 <= second < 1200 else 0.5
                name = f"{second // 10}" if i == 3 and 1320 <= second < 1800 else f"{trace}"
                spans[trace % partitions] += [
                    tool(trace, 2, end_s - 0.1, seconds, failed),
                    chat(trace, 3, end_s - 0.3, end_s - 0.2, 1),
                    agent(trace, 1, end_s - seconds - 0.2, end_s, f"agent-{i}", tenant="acme", session__id=name),
                ]
        for number, mine in enumerate(spans):
            chance.shuffle(mine)
            logs[number].append(Record(Signal.TRACES, body(*mine), f"{TOPIC}/{number}"))
    return logs


def alone(logs: Sequence[Sequence[Record]]) -> list[Notice]:
    """What one instance of role all tells of these logs."""
    one, told = pipeline(), list[Notice]()
    one.step(Batch((), {}, expected=tuple(f"{TOPIC}/{i}" for i in range(len(logs)))), end_ns(0))
    for index, together in enumerate(zip(*logs, strict=True)):
        for record in together:
            told += one.step(Batch((record,), {}), end_ns(index)).notices
    return told


def facts(notices: Sequence[Notice]) -> list[Notice]:
    """Each notice once, in an order of their own: a repeated one is known by its id."""
    return sorted({notice.notice_id: notice for notice in notices}.values(), key=lambda one: (one.at_ns, one.notice_id))


@pytest.mark.parametrize("partitions", [1, 3])
def test_undisturbed_machines_say_what_one_says(partitions: int) -> None:
    """The very same notices, in the same order."""
    logs = streams(partitions, 1)
    owners = [Owner(f"{TOPIC}/{i}", log, {TOPIC: partitions}) for i, log in enumerate(logs)]
    detect, told = detecting(rules()), list[Notice]()
    for index in range(len(logs[0])):
        for owner in owners:
            for report in owner.read(1, end_ns(index)):
                told += read(detect, report, end_ns(index)).notices
    expected = alone(logs)
    assert len(expected) >= 6
    assert facts(told) == facts(expected)
    assert any(dict(line.labels).get("operation") == "session" for one in told for line in one.alerts)


@pytest.mark.parametrize("seed", range(3))
def test_restarts_repeats_and_delays_change_nothing(seed: int) -> None:
    """Owners stop and go back to what they kept, two own a partition at once, reports of partitions come in any order
    among each other and again, and detect goes on from its state: the same notices."""
    chance = random.Random(seed)
    partitions = chance.choice([2, 3, 4])
    logs = streams(partitions, seed)
    topics = {TOPIC: partitions}
    owners = [Owner(f"{TOPIC}/{i}", log, topics) for i, log in enumerate(logs)]
    waiting: list[list[bytes]] = [[] for _ in owners]
    detect, told, repeats, gaps = detecting(rules()), list[Notice](), 0, 0
    while any(owner.at < len(owner.log) for owner in owners) or any(waiting):
        number = chance.randrange(partitions)
        owner, now_ns = owners[number], end_ns(min(owners[number].at, len(logs[0]) - 1))
        happens = chance.random()
        if happens < 0.06:
            owner.restart()
        elif happens < 0.15:
            owner.keep()
        elif happens < 0.18:
            zombie = Owner(owner.source, owner.log, topics)
            zombie.kept = owner.kept
            zombie.restart()
            waiting[number] += zombie.read(chance.randrange(1, 60), now_ns)
        elif happens < 0.2:
            detect = restarted(detect, rules())
        elif happens < 0.6:
            waiting[number] += owner.read(chance.randrange(1, 12), now_ns)
        elif waiting[number]:
            outcome = read(detect, waiting[number].pop(0), end_ns(len(logs[0])))
            told += outcome.notices
            repeats += outcome.tally.repeats
            gaps += outcome.tally.gaps
    assert facts(told) == facts(alone(logs))
    assert repeats > 0 and gaps == 0


def test_a_partition_of_which_nobody_reports_holds_all() -> None:
    """Its ingest is dead: event time stands, says for what, and what was held is told once it is back."""
    logs = streams(2, 3)
    owners = [Owner(f"{TOPIC}/{i}", log, {TOPIC: 2}) for i, log in enumerate(logs)]
    detect, told = detecting(rules()), list[Notice]()
    for index in range(len(logs[0])):
        for owner in owners[: 2 if index < 20 else 1]:
            for report in owner.read(1, end_ns(index)):
                told += read(detect, report, end_ns(index)).notices
    merge = detect.ingest
    assert isinstance(merge, Merge) and told == []
    assert merge.watermark_ns is not None and merge.watermark_ns < at_ns(20 * EVERY_S)
    assert merge.waits_for(end_ns(len(logs[0]))) == (f"{TOPIC}/1",)
    for report in owners[1].read(len(logs[1]), end_ns(len(logs[0]))):
        told += read(detect, report, end_ns(len(logs[0]))).notices
    assert facts(told) == facts(alone(logs))
    assert merge.waits_for(end_ns(len(logs[0]))) == ()


def test_an_idle_partition_is_passed_on_evidence() -> None:
    """One that is empty, and one that fell silent, tell by what the broker says how far they were read."""
    busy = Owner(f"{TOPIC}/0", streams(1, 1)[0], {TOPIC: 2})
    empty = Owner(f"{TOPIC}/1", [], {TOPIC: 2})
    detect = detecting(rules())
    for index in range(100):
        for report in busy.read(1, end_ns(index)):
            read(detect, report, end_ns(index))
    assert detect.watermark_ns is None
    for report in empty.read(0, end_ns(100)):
        read(detect, report, end_ns(100))
    assert detect.watermark_ns is None, "nobody could read it to its end yet"
    for report in empty.read(0, end_ns(102), checked_ns=end_ns(100)):
        read(detect, report, end_ns(102))
    assert detect.watermark_ns is not None
    assert detect.watermark_ns == busy.reported_ns
