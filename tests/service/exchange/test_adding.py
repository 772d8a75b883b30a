"""Between ingest and detect several instances of role sum add shares of the slots up: what is told stays the same."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from alertrules.notice import Notice
from detectors.core.columns import Arrays
from service.batch import Batch, Record, Signal, Tally
from service.exchange.adding import Adding
from service.exchange.part import decoded as part_of
from service.exchange.report import Report, encoded
from service.exchange.shard import HandedOverError
from service.ingest.limits import IngestLimits
from tests.service.exchange.dialogues import logs
from tests.service.exchange.machines import TOPIC, Owner, detecting, made, read, restarted
from tests.service.exchange.test_conversations import CONVERSATIONS, MINUTES, Alone, Detect
from tests.service.exchange.test_conversations import compare as slots_differ
from tests.service.exchange.test_machines import alone, facts, streams
from tests.service.exchange.test_record import compare as rows_differ
from tests.service.test_pipeline import end_ns, rules

SLOTS, SHARES = "tocsin.slots", 2


class Adder:
    """Whoever adds up one share: reads its partition of `tocsin.slots` from where it stands."""

    def __init__(self, share: int, shares: int = SHARES) -> None:
        self.source, self.topics, self.log = f"{SLOTS}/{share}", {SLOTS: shares}, list[bytes]()
        self.adding, self.at, self.tally = Adding(made(), self.source), 0, Tally()
        self.kept: tuple[int, Arrays] | None = None

    def read(self, count: int, now_ns: int) -> list[bytes]:
        """Read so many reports; what is reported of them."""
        records = tuple(Record(Signal.TRACES, body, self.source) for body in self.log[self.at : self.at + count])
        self.at += len(records)
        answers = self.adding.step(Batch(records, {self.source: self.at}), now_ns, self.tally)
        assert len(answers) == len(records) and not any(answer.error for answer in answers)
        return [encoded(report) for report in self.adding.take(self.topics, now_ns)]

    def keep(self) -> None:
        """Save the state, as an owner does now and then."""
        self.kept = self.at, dict(self.adding.snapshot())

    def restart(self) -> None:
        """Be another owner, who knows what was kept and reads on from there."""
        self.at, self.adding = 0, Adding(made(), self.source)
        if self.kept is not None:
            self.at, arrays = self.kept
            self.adding = Adding.restore(made(), self.source, arrays)


def owners_of(given: Sequence[Sequence[Record]]) -> list[Owner]:
    topics, theirs = {TOPIC: len(given)}, replace(made(), shares=SHARES)
    return [Owner(f"{TOPIC}/{number}", log, topics, theirs) for number, log in enumerate(given)]


def write(reports: Sequence[Report], adders: Sequence[Adder]) -> None:
    """Each report goes to the partition of its share."""
    for report in reports:
        adders[report.share].log.append(encoded(report))


@pytest.mark.parametrize("partitions", [1, 3])
def test_slots_and_sessions_are_those_of_one_instance(partitions: int) -> None:
    """Every column of every slot, and every row of the record of sessions; each adder has sessions to join."""
    given, limits = logs(partitions, partitions, MINUTES, CONVERSATIONS), IngestLimits()
    owners, adders = owners_of(given), [Adder(share) for share in range(SHARES)]
    detect, one = Detect(limits), Alone(given, limits)
    for row in range(len(given[0])):
        for owner in owners:
            write(owner.reports(1, end_ns(row)), adders)
        for adder in adders:
            detect.read(adder.read(99, end_ns(row)), end_ns(row))
    assert slots_differ(detect, one) == [] and rows_differ(detect, one) == []
    assert all(adder.tally.sessions > 5 for adder in adders) and detect.merge.conversations.traces == 0
    assert detect.tally.spans > 0.99 * one.tally.spans


def test_restarts_repeats_and_delays_change_no_notice() -> None:
    """Whoever ingests, adds up or judges goes back to what was kept, two own one at once, reports come late and again:
    detect tells what one undisturbed instance of role all tells."""
    chance, given = random.Random(4), [log[:250] for log in streams(2, 4)]
    owners, adders = owners_of(given), [Adder(share) for share in range(SHARES)]
    waiting: list[list[bytes]] = [[] for _ in adders]
    detect, told, repeats, end = detecting(rules()), list[Notice](), 0, end_ns(len(given[0]))
    while (
        any(one.at < len(one.log) for one in owners) or any(one.at < len(one.log) for one in adders) or any(waiting)
    ):  # fmt: skip
        number, happens = chance.randrange(SHARES), chance.random()
        owner, adder = owners[number], adders[number]
        if happens < 0.01:
            owner.restart()
        elif happens < 0.02:
            adder.restart()
        elif happens < 0.06:
            owner.keep()
        elif happens < 0.14:
            adder.keep()
        elif happens < 0.16:
            zombie = Adder(number)
            zombie.log, zombie.kept = adder.log, adder.kept
            zombie.restart()
            waiting[number] += zombie.read(chance.randrange(1, 60), end)
        elif happens < 0.18:
            detect = restarted(detect, rules())
        elif happens < 0.5:
            write(owner.reports(chance.randrange(1, 12), end_ns(min(owner.at, len(given[0]) - 1))), adders)
        elif happens < 0.75:
            waiting[number] += adder.read(chance.randrange(1, 40), end)
        elif waiting[number]:
            outcome = read(detect, waiting[number].pop(0), end)
            told += outcome.notices
            repeats += outcome.tally.repeats
            assert outcome.tally.gaps == 0
    expected = facts(alone(given))
    assert facts(told) == expected and len(expected) >= 3
    assert repeats > 0 and all(adder.tally.repeats > 0 for adder in adders)


def test_each_cell_is_told_to_one_share() -> None:
    """So an instance of role sum has its share of the cells alone, and detect is told each of them once a slot."""
    given = logs(1, 7, 8, 20)
    (owner,), (whole,) = owners_of(given), [Owner(f"{TOPIC}/0", given[0], {TOPIC: 1})]
    shares: list[set[tuple[str, ...]]] = [set() for _ in range(SHARES)]
    spans = expected = 0
    while owner.at < len(owner.log):
        now_ns = end_ns(owner.at)
        expected += sum(report.spans for report in whole.reports(10, now_ns))
        for report in owner.reports(10, now_ns):
            shares[report.share] |= {labels for part in map(part_of, report.parts) for labels in part.labels}
            spans += report.spans
    assert all(shares) and sum(map(len, shares)) == len(set.union(*shares))
    assert spans == expected > 100, "each is told once, not once a share"


def test_a_state_that_cannot_be_gone_on_from_is_said() -> None:
    """Of another partition, of a later version, and damaged: in each case why."""
    adder = Adder(1)
    right = adder.adding.snapshot()
    said = json.loads(right["adding"].tobytes())

    def rewritten(**fields: object) -> Arrays:
        return {**right, "adding": np.frombuffer(json.dumps(said | fields).encode(), np.uint8)}

    wrong: list[tuple[Arrays, str]] = [
        (rewritten(source=f"{SLOTS}/2"), "it is of tocsin.slots/2, not of tocsin.slots/1"),
        (rewritten(format=2), "it has format 2; this version reads 1"),
        (rewritten(reported="x"), "it is damaged"),
        ({name: array for name, array in right.items() if name != "slots/waiting"}, "it is damaged"),
        ({}, "it is damaged"),
    ]
    for arrays, why in wrong:
        with pytest.raises(HandedOverError, match=why):
            Adding.restore(made(), adder.source, arrays)


def test_with_more_shares_than_before_ingest_goes_on() -> None:
    """The places of what was reported in other shares mean nothing any more: no reader is told of a gap."""
    (owner,) = owners_of(logs(1, 7, 8, 20))
    owner.reports(20, end_ns(20))
    owner.keep()
    owner.made = replace(made(), shares=SHARES + 1)
    owner.restart()
    reports = owner.reports(20, end_ns(40))
    assert {report.share for report in reports} == set(range(SHARES + 1))
    assert all(report.after is None for report in reports if report.parts)
