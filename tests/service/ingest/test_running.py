"""Open sessions as slots tell of them: how they stand before their root comes, and how long others were."""

import numpy as np

from detectors.core.columns import Slot
from detectors.core.runs import FIRST_BUCKET, MEASURES, PLACES, trace_id
from service.ingest.stage import Ingest
from tests.service.ingest.test_legs import tool
from tests.service.ingest.wire import Stream, agent, chat


def told(stream: Stream) -> list[tuple[str, str, dict[str, float], str]]:
    """Agent, trace, measures and tool of the open sessions of all slots so far."""
    found = []
    for slot in stream.slots:
        one = slot.running
        for i, cell in enumerate(one.cell.tolist()):
            values = dict(zip(MEASURES, one.values[i].tolist(), strict=True))
            found.append((stream.ingest.cells.values(cell)[1], trace_id(one.trace[i]), values, one.tool[i]))
    return found


def lengths(slot: Slot) -> dict[str, list[int]]:
    """Buckets by measure."""
    found: dict[str, list[int]] = {name: [] for name in MEASURES}
    for code in slot.lengths.bucket.tolist():
        found[MEASURES[code // PLACES]].append(code % PLACES + FIRST_BUCKET)
    return found


def test_a_loop_is_told_while_it_runs() -> None:
    """One tool with the same arguments: how often so far, of which tool. No root has come."""
    stream = Stream()
    for number in range(30):
        stream.send(
            tool(1, 100 + number, 2.0 * number + 1, arguments="{}"),
            tool(1, 200 + number, 2.0 * number + 1, arguments=f'{{"n": {number}}}'),
        )
    stream.send(agent(9, 1, 170, 170))
    *_, last = told(stream)
    assert last[1] == f"{1:032x}" and last[3] == "search"
    assert last[2]["times"] == 30 and last[2]["calls"] == 60 and last[2]["seconds"] == 59
    times = [values["times"] for _, _, values, _ in told(stream)]
    assert times == sorted(times) and times[0] >= 4


def test_a_session_of_many_traces_is_one() -> None:
    """Calls, tokens and dollars of all turns; the trace is the one that went on last."""
    stream = Stream()
    for turn in range(1, 41):
        at = 10.0 * turn
        stream.send(
            chat(turn, 2, at, at + 1, 1, gen_ai__conversation__id="c"),
            agent(turn, 1, at, at + 2, gen_ai__conversation__id="c"),
        )
    stream.send(agent(99, 1, 520, 520))
    *_, last = told(stream)
    assert last[1] == f"{40:032x}" and last[2]["calls"] == 40 and last[2]["times"] == 1
    assert last[2]["tokens"] == 40 * 110 and abs(last[2]["dollars"] - 40 * (100 * 0.15e-6 + 10 * 0.6e-6)) < 1e-8


def test_what_ended_makes_the_lengths() -> None:
    """Of each measure one bucket a session, under the name of its first call."""
    stream = Stream()
    stream.send(chat(1, 2, 1, 3, 1), tool(1, 3, 5), tool(1, 4, 6), tool(1, 5, 7), agent(1, 1, 0, 16))
    (slot,) = [slot for slot in stream.flush().slots if len(slot.lengths.cell)]
    assert {name: len(each) for name, each in lengths(slot).items()} == dict.fromkeys(MEASURES, 1)
    ends = {name: 2 ** ((each[0] + 1) / 8) for name, each in lengths(slot).items()}
    assert 3 <= ends["times"] < 3.3 and 4 <= ends["calls"] < 4.4 and 16 <= ends["seconds"] < 17.5
    assert {stream.ingest.cells.values(cell)[:3] for cell in slot.lengths.cell.tolist()} == {("", "helper", "session")}


def test_how_sessions_stand_is_saved() -> None:
    """A loop that is cut by a save is counted on, and told alike."""
    whole, cut = Stream(), Stream()
    for number in range(30):
        if number == 13:
            cut.ingest = Ingest.restore(cut.ingest.snapshot(), cut.limits)
        for stream in (whole, cut):
            stream.send(tool(1, 100 + number, 2.0 * number + 1))
    for stream in (whole, cut):
        stream.send(agent(9, 1, 170, 170))
    assert told(whole) == told(cut) and told(whole)[-1][2]["times"] == 30


def test_a_short_session_is_not_told() -> None:
    stream = Stream()
    stream.send(chat(1, 2, 1, 3, 1), tool(1, 3, 5), tool(1, 4, 6))
    stream.send(agent(9, 1, 170, 170))
    assert told(stream) == [] and all(np.array_equal(slot.running.cell, []) for slot in stream.slots)
