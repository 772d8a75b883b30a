"""Prompts and models that answered are told apart under the roles as in one instance, and by role sum."""

import random

import pytest

from service.batch import Record, Signal
from service.ingest.limits import IngestLimits
from tests.service.exchange.dialogues import TOPIC, differences, facts
from tests.service.exchange.machines import Owner
from tests.service.exchange.test_adding import SHARES, Adder, owners_of, write
from tests.service.exchange.test_conversations import Alone, Detect
from tests.service.exchange.test_conversations import owners_of as owners_without_shares
from tests.service.ingest.wire import at_ns, body, chat
from tests.service.test_pipeline import end_ns

PARTITIONS, BODIES = 2, 120


def logs() -> list[list[Record]]:
    """Calls of three agents with prompts of two versions, answered by two models; some say neither."""
    chance, given, number = random.Random(1), list[list[Record]](), 0
    for partition in range(PARTITIONS):
        mine = []
        for row in range(BODIES):
            sent = []
            for _ in range(4):
                number += 1
                end_s = 5 * row + chance.random() * 4
                more = {"gen_ai__agent__name": chance.choice("abc"), "tenant__id": "acme"}
                if chance.random() < 0.7:
                    more |= {"gen_ai__prompt__name": "greeting", "gen_ai__prompt__version": chance.choice("12")}
                if chance.random() < 0.7:
                    more |= {"gen_ai__response__model": chance.choice(("gpt-4o-mini-a", "gpt-4o-mini-b"))}
                sent.append(chat(number, 1, end_s - 0.5, end_s, 0, **more))
            mine.append(Record(Signal.TRACES, body(*sent), f"{TOPIC}/{partition}"))
        given.append(mine)
    return given


@pytest.mark.parametrize("is_summed", [False, True])
def test_every_column_is_that_of_one_instance(is_summed: bool) -> None:
    """The cells have the same labels and counts, whoever added them up."""
    given, limits = logs(), IngestLimits()
    adders = [Adder(share) for share in range(SHARES)] if is_summed else []
    owners: list[Owner] = owners_of(given) if is_summed else owners_without_shares(given, limits)
    detect, alone = Detect(limits), Alone(given, limits)
    for row in range(BODIES):
        for owner in owners:
            if is_summed:
                write(owner.reports(1, end_ns(row)), adders)
            else:
                detect.read(owner.read(1, end_ns(row)), end_ns(row))
        for adder in adders:
            detect.read(adder.read(99, end_ns(row)), end_ns(row))
    until_ns = min(detect.slots[-1].start_ns, alone.slots[-1].start_ns)
    assert until_ns > at_ns(5 * BODIES - 200)
    one, other = ([slot for slot in each.slots if slot.start_ns <= until_ns] for each in (detect, alone))
    told = facts(one, detect.merge.cells, detect.merge.sights)
    assert differences(told, facts(other, alone.ingest.cells, alone.ingest.sights)) == []
    calls = [labels for row in alone.ingest.cells.rows() if (labels := alone.ingest.cells.values(row))[2] == "llm"]
    assert len(calls) == 3 * 3 * 3
